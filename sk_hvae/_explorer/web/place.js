// What is shown of one place: rates, metrics, rows, samples and latents.

const DOT_RADIUS = 2.5; // pixels, of a row in the picture of the latents
const LATENTS_SIZE = 340; // pixels at most
const LONGEST_MARK = 2; // characters: labels as short as these are drawn in place of dots

function ratesTable(place) {
  const rates = content.rates[place];
  const hasBounds = content.bounds !== null;
  const rows = rates.map((rate, layer) => [
    element("span", {}, swatch(layerColour(layer)), `z${layer + 1}`),
    datum(content.targets[place][layer]),
    datum(rate),
    datum(sum(rates.slice(layer))),
    ...(hasBounds ? [datum(content.bounds[place][layer])] : []),
  ]);
  const head = ["layer", "target", "measured", "with layers above",
    ...(hasBounds ? ["accuracy at most *"] : [])];
  return element("div", {}, table("Rates, in bits per row", head, rows, { id: "rates" }),
    hasBounds ? element("p", { class: "note" },
      "* At these rates, no classifier that reads samples of this layer can be more accurate. "
      + "Accuracies among the metrics are those of posterior means, which may tell more.") : null);
}

function metricsTable(place) {
  const rows = content.metrics.map((own) => {
    const finite = own.values.filter((value) => value !== null);
    const span = element("span", {});
    if (finite.length) {
      const [low, high] = range(finite);
      span.append(datum(low), " to ", datum(high));
    }
    return [own.label, datum(own.values[place]), span];
  });
  return table("Metrics", ["metric", "here", "over the map"], rows, { id: "metrics" });
}

// What a layer and those above it have told at a place.
function layerName(layer, place) {
  const rates = content.rates[place];
  const isTop = layer === rates.length - 1;
  return `from z${layer + 1}${isTop ? "" : " and above"}, ${bits(sum(rates.slice(layer)))}`;
}

function rowName(index) {
  const labels = content.rows.labels;
  const number = `row ${content.rows.numbers[index]}`;
  return labels === null ? number : `${number}: ${labels[index]}`;
}

function picture(url, name, colour) {
  return element("figure", { class: "strip" },
    element("figcaption", {}, colour ? swatch(colour) : null, name),
    element("img", { src: url, alt: name }));
}

function imagesOf(place) {
  const rows = content.rows;
  const here = rows.places[place];
  const names = rows.numbers.map((_, index) => rowName(index)).join(", ");
  return element("div", { id: "images" },
    element("h3", {}, "Rows, and what layers know of them"),
    element("p", { class: "note" }, `From left to right: ${names}.`),
    picture(rows.originals, "originals"),
    ...here.layers.map((url, layer) =>
      picture(url, layerName(layer, place), layerColour(layer))),
    element("h3", {}, "Samples"),
    picture(here.samples, "means of the data, given latents drawn from the model"));
}

function tablesOf(place) {
  const rows = content.rows;
  const here = rows.places[place];
  const choice = element("select", { id: "row" }, ...rows.numbers.map((_, index) =>
    element("option", { value: index }, rowName(index))));
  choice.value = state.row;
  choice.addEventListener("change", () => {
    state.row = Number(choice.value);
    showPlace(place);
    byId("row").focus();
  });
  const cells = rows.columns.map((name, column) => [
    name,
    rows.originals[state.row][column],
    ...here.layers.map((layer) => layer[state.row][column]),
  ]);
  const layers = here.layers.map((_, layer) =>
    element("span", {}, swatch(layerColour(layer)), layerName(layer, place)));
  const samples = rows.columns.map((name, column) =>
    [name, ...here.samples.map((sample) => sample[column])]);
  const heads = here.samples.map((_, number) => String(number + 1));
  const more = rows.n_more ? `and ${rows.n_more} more columns, which are not shown` : "";
  return element("div", { id: "tables" },
    element("h3", {}, "A row, and what layers know of it"),
    element("label", {}, "Row ", choice),
    table(`${rowName(state.row)}, decoded`, ["column", "original", ...layers], cells, { id: "cells" }),
    element("p", { class: "note" }, more),
    element("h3", {}, "Samples"),
    table("Rows drawn from the model", ["column", ...heads], samples, { id: "samples" }));
}

function pointsOf(place) {
  const bytes = atob(content.rows.latents.points[place]);
  const share = (index) => bytes.charCodeAt(index) / 255;
  return Array.from({ length: bytes.length / 2 }, (_, n) => [share(2 * n), 1 - share(2 * n + 1)]);
}

// Colour and mark of every point of the latents; a mark is text, or null for a dot.
function marksOf() {
  const colours = content.rows.colours;
  if (colours === null) return () => [FEW[0], null];
  if (colours.shares) return (n) => [colours.shares[n] === null ? REST : viridis(colours.shares[n]), null];
  const palette = colours.names.length > FEW.length ? MANY : FEW;
  const areShort = colours.names.every((name) => name.length <= LONGEST_MARK);
  return (n) => {
    const group = colours.groups[n];
    return group < 0 ? [REST, null] : [palette[group], areShort ? colours.names[group] : null];
  };
}

function drawLatents(canvas, place) {
  const ratio = window.devicePixelRatio || 1;
  const size = Math.min(canvas.parentNode.clientWidth, LATENTS_SIZE);
  canvas.width = canvas.height = size * ratio;
  canvas.style.width = canvas.style.height = `${size}px`;
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  pen.font = "bold 11px sans-serif";
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  const marks = marksOf();
  pointsOf(place).forEach(([x, y], number) => {
    const [colour, mark] = marks(number);
    const at = [x, y].map((share) => 8 + share * (size - 16));
    pen.fillStyle = colour;
    if (mark !== null) {
      pen.fillText(mark, ...at);
    } else {
      pen.beginPath();
      pen.arc(...at, DOT_RADIUS, 0, 2 * Math.PI);
      pen.fill();
    }
  });
}

function legendOf() {
  const colours = content.rows.colours;
  if (colours === null) return null;
  if (colours.shares) {
    return element("p", { class: "legend" }, short(colours.low),
      element("span", { class: "bar", style: `background: ${VIRIDIS_BAR}` }), short(colours.high));
  }
  const palette = colours.names.length > FEW.length ? MANY : FEW;
  const entries = colours.names.map((name, group) => [name, palette[group]]);
  if (colours.rest !== null) entries.push([colours.rest, REST]);
  return element("ul", { class: "legend" }, ...entries.map(([name, colour]) =>
    element("li", {}, swatch(colour), name)));
}

function latentsOf(place) {
  const share = Math.round(100 * content.rows.latents.shares[place]);
  const said = `Latents of ${pointsOf(place).length} rows, by their first two principal `
    + `components, which have ${share}% of the variance here.`;
  return element("figure", { id: "latents" },
    element("figcaption", {}, said),
    element("canvas", { role: "img", "aria-label": said }),
    legendOf());
}

function placeName(place) {
  const parts = content.targets[place].map((rate, layer) => `${bits(rate)} in z${layer + 1}`);
  return parts.join(", ");
}

function showPlace(place) {
  byId("place-title").textContent = `At ${placeName(place)}`;
  const parts = [ratesTable(place), metricsTable(place)];
  if (content.rows !== null) {
    parts.push(content.rows.kind === "images" ? imagesOf(place) : tablesOf(place));
    parts.push(element("h3", {}, "Latents"), latentsOf(place));
  }
  byId("place-content").replaceChildren(...parts);
  const canvas = document.querySelector("#latents canvas");
  if (canvas !== null) drawLatents(canvas, place);
}

function numbersTable() {
  const layers = content.targets[0].map((_, layer) => layer);
  const head = ["place", ...layers.map((layer) => `target_z${layer + 1}`),
    ...layers.map((layer) => `rate_z${layer + 1}`), ...content.metrics.map((own) => own.name)];
  const rows = content.targets.map((targets, place) => [String(place), ...targets.map(datum),
    ...content.rates[place].map(datum), ...content.metrics.map((own) => datum(own.values[place]))]);
  return table("Targets and measured rates in bits per row, and metrics", head, rows);
}
