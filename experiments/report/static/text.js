"use strict";
// Held-out text, colored by surprise or by the activation of a unit.
function hint() {
  const box = el("div", { id: "hint", hidden: true });
  document.body.append(box);
  return {
    show(content, target) {
      box.replaceChildren(content);
      box.hidden = false;
      const at = target.getBoundingClientRect(), own = box.getBoundingClientRect();
      const below = at.bottom + 6 + own.height < innerHeight;
      box.style.left = Math.max(4, Math.min(innerWidth - own.width - 4, at.left)) + "px";
      box.style.top = (below ? at.bottom + 6 : Math.max(4, at.top - own.height - 6)) + "px";
    },
    hide() { box.hidden = true; },
  };
}

// One span per token. `describe(n)` returns what is shown on hover, focus or tap.
function tokens(texts, describe, box) {
  const spans = texts.map((text, n) => el("span", { tabIndex: -1, "data-n": n },
    text === "\n" ? "\u21b5\n" : text === "<eos>" ? "\u23ce\n" : text));
  texts.forEach((text, n) => { if (text === "\n" || text === "<eos>") spans[n].classList.add("end"); });
  const place = el("div", { className: "text" }, ...spans);
  const show = event => {
    const n = event.target.dataset?.n;
    if (n !== undefined) box.show(describe(Number(n)), event.target);
  };
  if (spans.length) spans[0].tabIndex = 0;
  place.addEventListener("pointerover", show);
  place.addEventListener("focusin", show);
  for (const name of ["pointerleave", "focusout"]) place.addEventListener(name, () => box.hide());
  place.addEventListener("keydown", event => {
    const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const to = move && spans[Number(event.target.dataset?.n) + move];
    if (!to) return;
    event.preventDefault();
    event.target.tabIndex = -1;
    to.tabIndex = 0;
    to.focus();
  });
  return { place, spans };
}

function surpriseSection(run, box) {
  const reading = run.reading;
  if (!reading) return null;
  const most = 6;
  const { place, spans } = tokens(reading.tokens, describe, box);
  function describe(n) {
    const what = visible(reading.answers ? reading.answers[n] : reading.tokens[n]);
    const rows = reading.best[n].map((id, k) => el("tr", {},
      el("td", {}, visible(reading.symbols[id])),
      el("td", { className: "number" }, `${(100 * reading.chances[n][k]).toFixed(1)} %`)));
    const chance = 100 * Math.exp(-reading.nats[n]);
    return el("div", {}, el("b", {}, what), `: ${reading.nats[n].toFixed(2)} nats (${chance.toPrecision(2)} %)`,
      el("table", {}, ...rows));
  }
  const scale = el("span", { className: "scale" });
  function paint() {
    spans.forEach((span, n) => { span.style.background = mixed("c1", 0.75 * reading.nats[n] / most); });
    scale.style.background = `linear-gradient(90deg, ${mixed("c1", 0)}, ${mixed("c1", 0.75)})`;
  }
  const asked = reading.answers ? "the label of each token" : "each token, before it is read";
  const node = section("Surprise", `Held-out text, colored by -log p of ${asked}: ` +
    `${reading.mean.toFixed(3)} nats on average over ${reading.read} tokens. ` +
    "Point at a token, tap it, or use the arrow keys, for what the model expected.",
    el("p", { className: "soft" }, "0", scale, `${most} nats or more`), place);
  node.id = "surprise";
  return Object.assign(node, { paint });
}

function unitsSection(run, box) {
  const reading = run.reading, units = reading?.units;
  if (!units) return null;
  const length = reading.tokens.length;
  const raw = atob(units.activations);
  const value = (unit, n) => (raw.charCodeAt(unit * length + n) << 24 >> 24) / 127;
  const features = units.features;
  const { place, spans } = tokens(reading.tokens, n => el("div", {},
    `${units.labels[current()]}: ${(value(current(), n) * units.peaks[current()]).toFixed(3)}`), box);
  const feature = choice(features.map((name, n) => [n, name]), rank);
  feature.id = "feature";
  const unit = choice([], paint);
  unit.id = "unit";
  const about = el("p", { className: "soft", id: "tracks" });
  const scale = el("span", { className: "scale" });
  const current = () => Number(unit.value);

  function rank() { // the units by how much they track a property
    const k = Number(feature.value);
    const order = units.labels.map((_, n) => n).sort((a, b) => Math.abs(units.r[b][k]) - Math.abs(units.r[a][k]));
    unit.replaceChildren(...order.map(n => el("option", { value: n },
      `${units.labels[n]} (r = ${units.r[n][k].toFixed(2)})`)));
    paint();
  }
  function paint() {
    const u = current();
    spans.forEach((span, n) => {
      const x = value(u, n);
      span.style.background = mixed(x < 0 ? "c0" : "c1", 0.8 * Math.abs(x));
    });
    const peak = units.peaks[u].toPrecision(2);
    scale.style.background = `linear-gradient(90deg, ${mixed("c0", 0.8)}, ${mixed("c0", 0)}, ${mixed("c1", 0.8)})`;
    const best = features.map((name, k) => [name, units.r[u][k]]).sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]));
    about.replaceChildren(`-${peak}`, scale, `${peak}. This unit tracks `,
      best.slice(0, 3).map(([name, r]) => `${name} (r = ${r.toFixed(2)})`).join(", ") + ".");
  }
  const strongest = features.map((_, k) => Math.max(...units.r.map(row => Math.abs(row[k]))));
  feature.value = strongest.indexOf(Math.max(...strongest));
  rank();
  const node = section("Units", "Held-out text, colored by the output of a unit after each token. " +
    `Units are ranked by their correlation with a property of the text, over ${reading.read} tokens.`,
    el("div", { className: "controls" }, field("Ranked by", feature), field("Unit", unit)), about, place);
  node.id = "units";
  return Object.assign(node, { paint });
}
