// The map: a heat map of two layers, dots where the places are no grid, or a curve for one layer.

const MARGIN = { left: 56, right: 14, top: 14, bottom: 44 }; // pixels, for ticks and names of axes
const TALLEST = 420; // pixels; so that map and recommendation fit a laptop's screen
const NARROWEST = 240; // pixels; a frame that is not laid out yet has no width
const LABEL_WIDTH = 34; // pixels that a tick's label needs
const DOT = 11; // pixels, the radius of places that are no grid

// Powers of two: bits whose lines are drawn, where they cross the map.
const TOTALS = Array.from({ length: 20 }, (_, exponent) => 2 ** (exponent - 8));

function levels(values) {
  return [...new Set(values)].sort((a, b) => a - b);
}

function range(values) {
  return [Math.min(...values), Math.max(...values)];
}

// A scale from values to pixels.
function scaleOf([low, high], [from, to], isLog) {
  const turn = isLog ? Math.log2 : (value) => value;
  const [start, end] = [turn(low), turn(high)];
  const width = end - start || 1;
  return (value) => from + ((turn(value) - start) / width) * (to - from);
}

// Edges of the cells of a heat map, halfway between their centres on a logarithmic scale.
function edgesOf(centres) {
  const logs = centres.map(Math.log2);
  const middles = logs.slice(1).map((log, number) => (log + logs[number]) / 2);
  const edges = [2 * logs[0] - middles[0], ...middles, 2 * logs.at(-1) - middles.at(-1)];
  return edges.map((edge) => 2 ** edge);
}

// What is to be drawn: places, their positions, the scales, and ticks.
function planeLayout(places, axes, values, width) {
  const height = Math.min(width, TALLEST);
  const left = [MARGIN.left, width - MARGIN.right];
  const up = [height - MARGIN.bottom, MARGIN.top];
  if (axes === null) return curveLayout(places, values, width, height, left, up);
  const [columns, rows] = axes.map((layer) => levels(places.map((n) => content.targets[n][layer])));
  const isGrid = places.length === columns.length * rows.length
    && Math.min(columns.length, rows.length) > 1;
  const ends = (centres) => {
    if (!isGrid) return [centres[0] / Math.SQRT2, centres.at(-1) * Math.SQRT2];
    const edges = edgesOf(centres);
    return [edges[0], edges.at(-1)];
  };
  const limits = [ends(columns), ends(rows)];
  const x = scaleOf(limits[0], left, true);
  const y = scaleOf(limits[1], up, true);
  const at = (rates) => [x(rates[axes[0]]), y(rates[axes[1]])];
  return {
    width, height, x, y, limits, isGrid, columns, rows,
    positions: places.map((n) => at(content.targets[n])),
    measured: places.map((n) => at(content.rates[n])),
    ticks: [logTicks(columns, isGrid, left), logTicks(rows, isGrid, up)],
    names: axes.map((layer) => `target rate of z${layer + 1} (bits)`),
  };
}

function curveLayout(places, values, width, height, left, up) {
  const rates = places.map((n) => content.rates[n][0]);
  const [low, high] = range(rates);
  const finite = values.filter((value) => value !== null);
  const [least, most] = range(finite);
  const room = (most - least) * 0.05 || 1;
  const x = scaleOf([low / 1.15, high * 1.15], left, true);
  const y = scaleOf([least - room, most + room], up, false);
  return {
    width, height, x, y, isGrid: false, measured: null,
    positions: places.map((n) => [x(rates[n]), y(values[n] ?? least - room)]),
    ticks: [
      logTicks(TOTALS.filter((total) => total >= low / 1.15 && total <= high * 1.15), true, left),
      evenTicks(least, most),
    ],
    names: ["measured rate of z1 (bits)", metric().label],
  };
}

function logTicks(values, areFew, [from, to]) {
  const known = areFew ? values : TOTALS.filter((t) => t >= values[0] && t <= values.at(-1));
  const every = Math.ceil((known.length * LABEL_WIDTH) / Math.abs(to - from));
  return known.filter((_, number) => number % every === 0);
}

function evenTicks(low, high) {
  const rough = (high - low || 1) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const ticks = [];
  for (let tick = Math.ceil(low / step) * step; tick <= high; tick += step) ticks.push(tick);
  return ticks;
}

// A line on which the rates of all layers add up to a total, within the map.
function lineOfTotal(layout, total, others) {
  const [[low, high], [bottom, top]] = layout.limits;
  const points = Array.from({ length: 200 }, (_, n) => low * (high / low) ** (n / 199))
    .map((across) => [across, total - others - across])
    .filter(([, up]) => up > bottom && up < top);
  // Shorter pieces have no room for their label.
  if (points.length < 15) return null;
  const balance = ([across, up]) => Math.abs(Math.log(across / up));
  const [labelX, labelY] = points.reduce((a, b) => (balance(a) < balance(b) ? a : b));
  const path = points.map(([across, up]) => `${layout.x(across)},${layout.y(up)}`).join(" ");
  return drawn("g", { class: "total", "aria-hidden": "true" },
    drawn("polyline", { points: path, class: "halo" }),
    drawn("polyline", { points: path, class: "dash" }),
    drawn("text", { x: layout.x(labelX), y: layout.y(labelY) + 4 }, short(total)));
}

function shapeOf(layout, number, colour) {
  const [x, y] = layout.positions[number];
  if (!layout.isGrid) {
    const r = layout.measured ? DOT : 6;
    return drawn("circle", { cx: x, cy: y, r, fill: colour });
  }
  const cell = (centre, centres, scale) => {
    const nearest = centres.reduce((a, b) =>
      (Math.abs(scale(a) - centre) < Math.abs(scale(b) - centre) ? a : b));
    const edges = edgesOf(centres);
    const index = centres.indexOf(nearest);
    return [scale(edges[index]), scale(edges[index + 1])];
  };
  const [left, right] = cell(x, layout.columns, layout.x);
  const [bottom, top] = cell(y, layout.rows, layout.y);
  return drawn("rect", { x: left, y: top, width: right - left, height: bottom - top, fill: colour });
}

function axesOf(layout) {
  const [across, up] = layout.ticks;
  const { width, height } = layout;
  const bottom = height - MARGIN.bottom;
  const isCurve = layout.measured === null;
  return drawn("g", { class: "axes", "aria-hidden": "true" },
    ...(isCurve ? up.map((tick) => drawn("line", {
      x1: MARGIN.left, x2: width - MARGIN.right, y1: layout.y(tick), y2: layout.y(tick) })) : []),
    ...across.map((tick) =>
      drawn("text", { x: layout.x(tick), y: bottom + 16, class: "middle" }, short(tick, 3))),
    ...up.map((tick) =>
      drawn("text", { x: MARGIN.left - 6, y: layout.y(tick) + 4, class: "end" }, short(tick, 3))),
    drawn("text", { x: (MARGIN.left + width - MARGIN.right) / 2, y: height - 8, class: "middle" },
      layout.names[0]),
    drawn("text", { class: "middle", transform: `translate(14 ${bottom / 2 + 7}) rotate(-90)` },
      layout.names[1]));
}

// Dots where the measured rates really are, with a line from the place.
function measuredOf(layout) {
  const kind = layout.isGrid ? "measured" : "measured on-page";
  return drawn("g", { class: kind, "aria-hidden": "true" },
    ...layout.measured.map(([x, y], number) => {
      const [fromX, fromY] = layout.positions[number];
      return drawn("g", {},
        drawn("line", { x1: fromX, y1: fromY, x2: x, y2: y }),
        drawn("circle", { cx: x, cy: y, r: 2 }));
    }));
}

function curveOf(layout) {
  const points = [...layout.positions].sort((a, b) => a[0] - b[0]).map((at) => at.join(","));
  return drawn("polyline", { points: points.join(" "), class: "curve" });
}
