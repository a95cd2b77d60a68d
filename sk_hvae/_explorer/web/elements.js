// Elements of the page, and numbers as text.

const SVG = "http://www.w3.org/2000/svg";

// Text goes in by textContent alone, so that names of columns and labels can never be markup.
function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

function element(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function drawn(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function byId(id) {
  return document.getElementById(id);
}

// Four digits tell places apart, and three are enough for a tick; more are not read.
function short(value, digits = 4) {
  return value === null ? "–" : String(Number(value.toPrecision(digits)));
}

// A number as people read it, with all of its digits for programs.
function datum(value) {
  return value === null ? "–" : element("data", { value }, short(value));
}

function bits(value) {
  return `${short(value)} ${value === 1 ? "bit" : "bits"}`;
}

function sum(values) {
  return values.reduce((total, value) => total + value, 0);
}

function table(caption, head, rows, attributes = {}) {
  const cell = (value, number) =>
    number ? element("td", {}, value) : element("th", { scope: "row" }, value);
  return element("div", { class: "wide", ...attributes },
    element("table", {},
      element("caption", {}, caption),
      element("thead", {},
        element("tr", {}, ...head.map((name) => element("th", { scope: "col" }, name)))),
      element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map(cell))))));
}

// Colours of matplotlib's palettes without their greys, as in the displays of the library.
const FEW = ["#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2",
  "#bcbd22", "#17becf"];
const MANY = ["#1f77b4", "#aec7e8", "#ff7f0e", "#ffbb78", "#2ca02c", "#98df8a", "#d62728",
  "#ff9896", "#9467bd", "#c5b0d5", "#8c564b", "#c49c94", "#e377c2", "#f7b6d2", "#bcbd22",
  "#dbdb8d", "#17becf", "#9edae5"];
const REST = "#999999";

function swatch(colour) {
  return element("span", { class: "swatch", style: `background: ${colour}`, "aria-hidden": "true" });
}

function layerColour(layer) {
  return FEW[layer % FEW.length];
}

// Viridis: its lightness rises evenly, for all kinds of colour vision. Eleven of its colours, in
// red, green and blue; others lie between two of them.
const VIRIDIS = [[68, 1, 84], [72, 36, 117], [65, 68, 135], [53, 95, 141], [42, 120, 142],
  [33, 145, 140], [34, 168, 132], [68, 191, 112], [122, 209, 81], [189, 223, 38],
  [253, 231, 37]];

function viridis(share) {
  const place = Math.min(Math.max(share, 0), 1) * (VIRIDIS.length - 1);
  const below = Math.min(Math.floor(place), VIRIDIS.length - 2);
  const mixed = VIRIDIS[below].map((low, channel) =>
    Math.round(low + (VIRIDIS[below + 1][channel] - low) * (place - below)));
  return `rgb(${mixed.join(",")})`;
}

const VIRIDIS_BAR = `linear-gradient(to right, ${VIRIDIS.map((c) => `rgb(${c.join(",")})`).join(",")})`;
