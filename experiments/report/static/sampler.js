"use strict";
// Writes text with a network that runs in the page.
function Sampler(generator) {
  const program = Program(generator.program), symbols = generator.symbols;
  const ids = new Map(symbols.map((symbol, n) => [symbol, n]));
  const words = / ?[\p{L}\p{N}_]+(?:['\u2019][\p{L}\p{N}_]+)*| ?[^\p{L}\p{N}_\s]|\s/gu;

  // Ids of a text; symbols outside of the vocabulary are read as <unk>, or left out.
  function encode(text) {
    const parts = generator.unit === "words" ? text.match(words) ?? [] : Array.from(text);
    return parts.map(part => ids.get(part) ?? ids.get("<unk>")).filter(id => id !== undefined);
  }

  // The state after a text, and the logits of what follows it. What the text has in common
  // with the last one is not read again.
  let last = { start: null, ids: [], found: [] };
  function read(text, start) {
    let ids = encode(text);
    if (!ids.length || generator.end !== null) ids = [...generator.prime, ...ids];
    let same = 0;
    if (last.start === start) while (same < ids.length && ids[same] === last.ids[same]) same++;
    const found = last.found.slice(0, same);
    for (const id of ids.slice(same))
      found.push(program.step(found.length ? found[found.length - 1].state : program.start(start), id));
    last = { start, ids, found };
    return found[found.length - 1];
  }

  // Probabilities from logits: softmax(logits / temperature) of the k most likely ones.
  function softmax(logits, temperature = 1, k = 0) {
    const some = Float64Array.from(logits);
    for (const id of generator.banned) some[id] = -Infinity;
    const order = Array.from(some.keys()).sort((a, b) => some[b] - some[a] || a - b);
    const kept = new Set(temperature === 0 ? order.slice(0, 1) : k ? order.slice(0, k) : order);
    const most = some[order[0]], scale = temperature || 1;
    const p = some.map((x, n) => kept.has(n) ? Math.exp((x - most) / scale) : 0);
    const total = p.reduce((a, b) => a + b, 0);
    return p.map(x => x / total);
  }

  function draw(p, random) {
    let left = random, last = 0;
    for (let id = 0; id < p.length; id++) {
      if (p[id] === 0) continue;
      last = id;
      left -= p[id];
      if (left < 0) break;
    }
    return last;
  }

  return {
    symbols, encode, read, softmax, draw, step: program.step,
    starts: Object.keys(generator.program.starts),
    end: generator.end,
    probabilities: (text, start = Object.keys(generator.program.starts)[0], temperature = 1, k = 0) =>
      Array.from(softmax(read(text, start).logits, temperature, k)),
  };
}

// The controls: prime, temperature, top-k, length, and the text that is written.
function samplerSection(run) {
  const generator = run.generator;
  if (!generator) return null;
  const title = "Live sampler";
  if (generator.refused) return section(title, `Not available: ${generator.refused}.`);
  const sampler = Sampler(generator), unit = generator.unit;
  const size = (generator.program.bytes / 1e6).toFixed(generator.program.bytes < 1e6 ? 2 : 1);
  const about = `${run.model}, trained on ${run.data}, runs in this page: ${size} MB of weights in ` +
    `${generator.program.precision}. Nothing is sent anywhere.`;
  const prime = el("textarea", { id: "prime", rows: 2, placeholder: "text to continue; empty to start from scratch" });
  const start = choice(sampler.starts.map(name => [name, name]));
  const temperature = el("input", { type: "range", id: "temperature", min: 0, max: 1.5, step: 0.05, value: 0.8 });
  const shown = el("span", {}, "0.80");
  temperature.addEventListener("input", () => { shown.textContent = Number(temperature.value).toFixed(2); });
  const k = el("input", { type: "number", id: "topk", min: 0, max: sampler.symbols.length, value: 0 });
  const length = el("input", { type: "number", id: "length", min: 1, max: 5000, value: unit === "words" ? 120 : 400 });
  const output = el("output", { id: "written", ariaLive: "off" });
  const next = el("p", { className: "soft", id: "next" });
  const button = el("button", { className: "main", id: "write", type: "button", onclick: toggle }, "Write");
  let job = 0;

  function toggle() {
    if (job) return stop();
    const own = ++counter;
    job = own;
    button.textContent = "Stop";
    let now = sampler.read(prime.value, start.value), left = Number(length.value) || 1;
    output.textContent = prime.value;
    (function more() {
      if (job !== own) return;
      const until = performance.now() + 24;
      let text = "";
      while (left > 0 && performance.now() < until) {
        const p = sampler.softmax(now.logits, Number(temperature.value), Number(k.value));
        const id = sampler.draw(p, Math.random());
        left = id === sampler.end ? 0 : left - 1;
        if (id !== sampler.end) text += sampler.symbols[id];
        if (left > 0) now = sampler.step(now.state, id);
      }
      output.append(text);
      if (left > 0) requestAnimationFrame(more);
      else stop();
    })();
  }

  function stop() {
    job = 0;
    button.textContent = "Write";
  }

  function preview() { // the most likely next symbols
    const p = sampler.probabilities(prime.value, start.value, Number(temperature.value), Number(k.value));
    const best = p.map((x, n) => [x, n]).sort((a, b) => b[0] - a[0]).slice(0, 6).filter(([x]) => x > 0);
    next.textContent = "Next: " + best.map(([x, n]) =>
      `${visible(sampler.symbols[n])} ${(100 * x).toFixed(1)} %`).join(" \u00b7 ");
  }
  for (const input of [prime, start, temperature, k]) input.addEventListener("input", preview);
  preview();

  const several = sampler.starts.length > 1;
  const node = section(title, about,
    el("label", { className: "field" }, "Prime", prime),
    el("div", { className: "controls" },
      several ? field("Category", start) : null,
      el("label", { className: "wide" }, el("span", {}, "Temperature ", shown), temperature),
      field("Top-k (0: all)", k), field(`Length in ${unit}`, length), button),
    next, output);
  node.sampler = sampler;
  return node;
}
let counter = 0;
