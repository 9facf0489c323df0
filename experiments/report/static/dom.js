"use strict";
// Elements of the page. Text of a run is only ever set as textContent.
function el(tag, properties, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") node.style.cssText = value;
    else if (name in node && name !== "list") node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children.filter(child => child !== null && child !== undefined));
  return node;
}

function field(label, input) {
  return el("label", {}, label, input);
}

function choice(options, change) { // options: [[value, text], ...]
  const items = options.map(([value, text]) => el("option", { value }, text));
  return el("select", { onchange: change }, ...items);
}

function section(title, about, ...children) {
  return el("section", {}, el("h2", {}, title), about && el("p", { className: "soft" }, about), ...children);
}

function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
}

// The color of a hexadecimal name, mixed with the paper: 0 is the paper, 1 the color.
function mixed(name, part, paper = "paper") {
  const read = text => [1, 3, 5].map(n => parseInt(text.slice(n, n + 2), 16));
  const from = read(color(paper)), to = read(color(name));
  const parts = from.map((x, n) => Math.round(x + (to[n] - x) * Math.min(1, Math.max(0, part))));
  return "#" + parts.map(x => x.toString(16).padStart(2, "0")).join("");
}

function visible(symbol) {
  return { " ": "space", "\n": "line end", "\t": "tab" }[symbol] ?? symbol;
}
