"use strict";
// Answers a text with a text, by an encoder and a decoder that run in the page.
function Translator(content) {
  const program = Program(content.program);
  const ids = new Map(content.symbols.map((symbol, n) => [symbol, n]));

  // Unknown symbols are read as <unk>, or left out. Symbols beyond the width are left out.
  function encode(text) {
    const found = Array.from(text).map(symbol => [symbol, ids.get(symbol) ?? ids.get("<unk>")]);
    return found.filter(([, id]) => id !== undefined).slice(0, content.width);
  }

  // Returns {source, answer, weights}: symbols, and weights [answer][source] or null.
  function answer(text) {
    const read = encode(text), order = content.backwards ? read.slice().reverse() : read;
    const data = new Int32Array(content.width).fill(content.padding);
    order.forEach(([, id], n) => { data[n] = id; });
    const [found, weights] = program.run([
      { shape: [content.width], kind: "i", data }, { shape: [], kind: "i", data: Int32Array.of(read.length) }]);
    const all = Array.from(found.data), end = all.indexOf(content.end);
    const written = end < 0 ? all : all.slice(0, end);
    const row = t => {
      const own = Array.from(weights.data.subarray(t * content.width, t * content.width + read.length));
      return content.backwards ? own.reverse() : own;
    };
    return {
      source: read.map(([symbol]) => symbol), answer: written.map(id => content.answers[id]),
      weights: weights ? written.map((_, t) => row(t)) : null,
    };
  }
  return { answer };
}

function translatorSection(run) {
  const content = run.translator;
  if (!content) return null;
  const title = "Live answers";
  if (content.refused) return section(title, `Not available: ${content.refused}.`);
  const translator = Translator(content), size = (content.program.bytes / 1e6).toFixed(2);
  const text = el("input", { id: "asked", type: "text", autocomplete: "off", spellcheck: false,
    maxLength: content.width, value: content.examples[0], oninput: show });
  const examples = choice([["", "choose one"], ...content.examples.map(one => [one, one])], () => {
    if (!examples.value) return;
    text.value = examples.value;
    show();
  });
  const output = el("output", { id: "answered", ariaLive: "polite" });
  const grid = el("div", { className: "scroll", id: "looked" });
  const mark = symbol => symbol === " " ? "\u2423" : symbol;

  function show() {
    if (!text.value) return output.replaceChildren(), grid.replaceChildren();
    const { source, answer, weights } = translator.answer(text.value);
    output.textContent = answer.join("");
    if (!weights || !source.length) return grid.replaceChildren();
    const head = el("tr", {}, el("th", {}), ...source.map(symbol => el("th", {}, mark(symbol))));
    const rows = weights.map((row, t) => el("tr", {}, el("th", {}, mark(answer[t])), ...row.map((weight, s) =>
      el("td", { title: `${visible(answer[t])} from ${visible(source[s])}: ${weight.toFixed(2)}`,
        style: `background: ${mixed("c0", weight, "card")}` }))));
    grid.replaceChildren(el("table", { className: "weights" }, head, ...rows));
  }
  show();
  const about = `${run.model}, trained on ${run.data}, runs in this page: ${size} MB of weights. Type a text of up to ` +
    `${content.width} characters; each symbol of the answer is the most likely one.` +
    (content.looks ? " The colors below are the attention weights: rows are symbols of the answer, columns are symbols of the text." : "");
  const node = section(title, about, el("div", { className: "controls" },
    el("label", { className: "wide" }, "Text", text), field("Examples", examples)), output, grid);
  return Object.assign(node, { translator, paint: show });
}
