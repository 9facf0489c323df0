"use strict";
// Builds the page from the data in it. Sections whose data are missing are left out.
const report = { content: JSON.parse(document.getElementById("content").textContent), ready: false, samplers: [], translators: [] };

(() => {
  const { title, unit, groups, curves, runs } = report.content;
  const page = document.getElementById("page"), own = el("div", { id: "run" });
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const number = x => Number(x.toPrecision(4)).toString();

  function header() {
    page.append(el("h1", {}, title));
    const first = runs[0];
    if (runs.length === 1) {
      page.append(el("p", {}, el("b", {}, first.words), ` \u2014 ${first.model}, ${first.trained}.`));
      page.append(el("p", { className: "soft" }, `Trained on ${first.data}. To reproduce it:`), el("pre", {}, first.command));
    } else {
      page.append(el("p", { className: "soft" }, `${runs.length} runs, trained on ${first.data}. ` +
        "Runs that differ only in their seed share one row and one curve."));
    }
    if (groups) page.append(results());
  }

  function results() {
    const figures = [...new Set(groups.flatMap(group => Object.keys(group.figures)))];
    if (!figures.length) return "";
    const mean = values => values.reduce((a, b) => a + b, 0) / values.length;
    const spread = values => Math.sqrt(values.reduce((a, x) => a + (x - mean(values)) ** 2, 0) / (values.length - 1));
    const cell = values => !values?.length ? "" :
      number(mean(values)) + (values.length > 1 && spread(values) > 0 ? ` \u00b1 ${spread(values).toPrecision(2)}` : "");
    const row = (name, cells) => el("tr", {}, el("td", {}, ...name),
      ...cells.map(text => el("td", { className: "number" }, text)));
    const rows = groups.map((group, n) => row(
      [el("span", { className: "swatch", style: `background: var(--${Charts.name(n)})` }), group.name],
      figures.map(figure => cell(group.figures[figure]))));
    for (const [name, baseline] of Object.entries(groups[0].baselines))
      rows.push(row([`without training: ${name}`], figures.map(f => f in baseline ? number(baseline[f]) : "")));
    for (const goal of groups[0].goals)
      rows.push(row([`to reach: ${goal.source}`], figures.map(f => f === goal.figure ? number(goal.bound) : "")));
    const heads = ["", ...figures.map(name => name.replaceAll("_", " "))];
    const commands = groups.map(group => group.command).join("\n");
    return el("section", { id: "results" }, el("h2", {}, "Held-out score"), el("div", { className: "scroll" },
      el("table", {}, el("tr", {}, ...heads.map(text => el("th", {}, text))), ...rows)),
      ...(runs.length > 1 ? [el("p", { className: "soft" }, "To reproduce them:"), el("pre", {}, commands)] : []));
  }

  function curveSection() {
    const drawn = curves?.filter(curve => curve.x.length);
    if (!drawn?.length) return null;
    const places = [el("div"), el("div")];
    const what = drawn.length === 1 ? groups[0].model : "mean of the seeds";
    const node = section("Training", "Averages over updates" + (drawn.some(c => c.seeds.length > 1) ?
      "; the band is from the smallest to the largest seed" : "") + ". Gradient norms are measured before clipping. Circles mark clipped updates, and the " +
      `dashed line is the clipping threshold. ${drawn.length === 1 ? groups[0].recipe : ""}`, el("div", { className: "charts" }, ...places));
    node.id = "curves";
    node.paint = () => {
      places.forEach(place => place.replaceChildren());
      const series = part => drawn.map(curve => ({ name: curve.name, x: curve.x, seeds: curve.seeds, ...curve[part] }));
      const marked = series("norm").map((one, n) => ({ ...one, marks: one.x.map((x, k) =>
        [x, drawn[n].clipped.high[k] > 0 ? one.mean[k] : null]) }));
      const clips = new Set(drawn.map(curve => curve.clip));
      return Promise.all([
        Charts.lines(places[0], { title: `Loss, ${what}`, x: "updates", y: unit, series: series("loss").map((one, n) =>
          ({ ...one, held_out: drawn[n].held_out, name: drawn.length > 1 ? one.name : "training" })) }),
        Charts.lines(places[1], { title: `Gradient norm, ${what}`, x: "updates", y: "norm", log: true,
          series: marked, level: clips.size === 1 ? [...clips][0] : undefined }),
      ]);
    };
    return node;
  }

  function samplesSection(run) {
    if (!run.samples?.length) return null;
    const last = run.samples.length - 1, text = el("pre", { id: "sample" }), caption = el("p", { id: "caption" });
    const slider = el("input", { type: "range", id: "slider", min: 0, max: last, step: 1, value: last,
      ariaLabel: "which sample", oninput: show });
    function show() {
      const one = run.samples[Number(slider.value)];
      caption.textContent = `After ${one.step} updates: ${one.words}`;
      text.textContent = one.text;
    }
    show();
    return section("Samples over training", "Samples of the model, from the first to the last.", slider, caption, text);
  }

  function lagSection(run) {
    if (!run.gradients?.length) return null;
    const place = el("div", { className: "chart" });
    const node = section("Gradient against lag", "How strongly the loss at a step depends on an earlier input, over training: " +
      "the norm of its gradient with respect to the input `lag` steps before, on a logarithmic scale.", place);
    node.id = "lags";
    node.paint = () => {
      place.replaceChildren();
      const cells = { left: [], right: [], bottom: [], top: [], value: [], lag: [], step: [], norm: [] };
      const steps = run.gradients.map(row => row.step);
      const edge = n => n === 0 ? steps[0] : n < steps.length ? (steps[n - 1] + steps[n]) / 2 : steps[n - 1];
      run.gradients.forEach((row, n) => row.norms.forEach((norm, lag) => {
        const value = norm > 0 ? Math.log10(norm) : NaN;
        const all = { left: lag - 0.5, right: lag + 0.5, bottom: edge(n), top: edge(n + 1), value, lag, step: row.step, norm: norm ?? NaN };
        for (const [key, x] of Object.entries(all)) cells[key].push(x);
      }));
      const finite = cells.value.filter(Number.isFinite).sort((a, b) => a - b);
      if (!finite.length) return null;
      const high = finite[finite.length - 1], low = Math.max(finite[Math.floor(finite.length / 50)], high - 8);
      return Charts.heat(place, { title: `Gradient by lag, ${run.model}`, x: "lag in steps", y: "updates", cells,
        low, high: Math.max(high, low + 0.1), label: "log10",
        tip: [["lag", "@lag"], ["updates", "@step{0,0}"], ["norm", "@norm{0.0e+0}"]] });
    };
    return node;
  }

  function alignmentSection(run) {
    if (!run.alignments?.length) return null;
    const places = run.alignments.map(() => el("div"));
    const node = section("Alignment", `How each symbol of an answer (rows) depends on the source (columns): ` +
      `${run.alignments[0].about}.`, el("div", { className: "charts" }, ...places));
    node.id = "alignments";
    node.paint = () => Promise.all(run.alignments.map((one, n) => {
      places[n].replaceChildren();
      const cells = { left: [], right: [], bottom: [], top: [], value: [], source: [], target: [] };
      const rows = one.target.length;
      one.weights.forEach((row, t) => row.forEach((value, s) => {
        const all = { left: s, right: s + 1, bottom: rows - t - 1, top: rows - t, value,
          source: visible(one.source[s]), target: visible(one.target[t]) };
        for (const [key, x] of Object.entries(all)) cells[key].push(x);
      }));
      const mark = symbol => symbol === " " ? "\u2423" : symbol;
      return Charts.heat(places[n], { title: `${one.source.join("")} \u2192 ${one.target.join("")}`, x: "source", y: "answer",
        cells, low: 0, high: Math.max(...cells.value, 1e-9), figure: { height: 240 + 8 * rows },
        xticks: Charts.ticks(one.source.map(mark)), yticks: Charts.ticks([...one.target].reverse().map(mark)),
        tip: [["source", "@source"], ["answer", "@target"], ["weight", "@value{0.00}"]] });
    }));
    return node;
  }

  function settingsSection(run) {
    if (!run.settings) return null;
    const items = Object.entries(run.settings).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]);
    return el("section", {}, el("details", {}, el("summary", {}, `All settings of ${run.name}`), el("dl", {}, ...items)));
  }

  const box = typeof hint === "function" ? hint() : null;
  let painted = [];
  const full = Boolean(groups);

  function select(n) {
    const run = runs[n], made = [];
    for (const note of run.notes ?? []) made.push(el("section", {}, el("p", { className: "soft" }, note)));
    if (full) made.push(samplesSection(run));
    const live = samplerSection(run);
    made.push(live);
    report.samplers[n] = live?.sampler;
    const asked = full ? translatorSection(run) : null;
    made.push(asked);
    report.translators[n] = asked?.translator;
    if (full) made.push(surpriseSection(run, box), unitsSection(run, box), lagSection(run), alignmentSection(run));
    made.push(settingsSection(run));
    const shown = made.filter(Boolean);
    own.replaceChildren(...shown);
    painted = shown.filter(node => node.paint);
    return Promise.all(painted.map(node => node.paint()));
  }

  header();
  const top = full ? curveSection() : null;
  if (top) page.append(top);
  const pick = choice(runs.map((run, n) => [n, `${run.name}: ${run.words}`]), () => select(Number(pick.value)));
  pick.id = "pick";
  if (runs.length > 1) page.append(el("section", {}, el("label", { className: "field" }, "The sections below show the run", pick)));
  page.append(own);
  const repaint = () => Promise.all([top?.paint(), ...painted.map(node => node.paint())]);
  dark.addEventListener("change", repaint);
  Promise.all([top?.paint(), select(0)]).then(() => { report.ready = true; });
})();
