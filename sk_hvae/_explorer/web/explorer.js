// What is chosen, and what happens when the reader chooses something else.

const content = JSON.parse(byId("content").textContent);
const nLayers = content.targets[0].length;
// A metric without any value can be read in the table, but has no map.
const mapped = content.metrics.filter((own) => own.values.some((value) => value !== null));

// `kept` is the place that was clicked or moved to, `shown` the one that is pointed at. The map is of
// z2 (to the right) and z1 (upwards), as in the pictures of the library.
const state = { metric: 0, axes: nLayers > 1 ? [1, 0] : null, kept: 0, shown: 0, row: 0 };
let layout = null;
let places = [];
let options = new Map();

function metric() {
  return mapped[state.metric];
}

// Places of the map that is drawn: those that have the targets of the kept place in all layers that
// are not its axes.
function placesOfMap() {
  const own = content.targets[state.kept];
  const fixed = own.map((_, layer) => layer).filter((layer) => !(state.axes ?? [0]).includes(layer));
  return content.targets.map((_, place) => place)
    .filter((place) => fixed.every((layer) => content.targets[place][layer] === own[layer]));
}

function describe(place) {
  return `${placeName(place)}: ${metric().label} ${short(metric().values[place])}`;
}

function drawPlane() {
  const hadFocus = byId("plane").contains(document.activeElement);
  places = placesOfMap();
  layout = planeLayout(places, state.axes, metric().values,
    Math.max(byId("plane").clientWidth, NARROWEST));
  const [low, high] = range(metric().values.filter((value) => value !== null));
  const colourOf = (value) =>
    (value === null ? "transparent" : viridis((value - low) / (high - low || 1)));
  options = new Map(places.map((place, number) => [place,
    drawn("g", { role: "option", "aria-label": describe(place), "data-place": place },
      shapeOf(layout, number,
        state.axes === null ? layerColour(0) : colourOf(metric().values[place])))]));
  const others = sum(content.targets[state.kept].filter((_, n) => !(state.axes ?? [0]).includes(n)));
  const totals = state.axes === null ? []
    : TOTALS.map((total) => lineOfTotal(layout, total, others)).filter((line) => line !== null);
  const svg = drawn("svg", {
    width: layout.width, height: layout.height, role: "listbox",
    "aria-label": `Places of the map of ${metric().label}`, "aria-describedby": "help",
  },
  axesOf(layout), state.axes === null ? curveOf(layout) : null, ...options.values(), ...totals,
  layout.measured === null ? null : measuredOf(layout),
  drawn("g", { id: "mark", "aria-hidden": "true" }), starOf());
  listen(svg);
  const bar = state.axes === null ? null : element("p", { class: "legend" },
    `${metric().label}: ${short(low)}`,
    element("span", { class: "bar", style: `background: ${VIRIDIS_BAR}` }), short(high));
  byId("plane").replaceChildren(svg, ...(bar === null ? [] : [bar]));
  mark();
  if (hadFocus) options.get(state.kept).focus();
}

function starOf() {
  const number = places.indexOf(metric().chosen);
  if (number < 0) return null;
  const [x, y] = layout.positions[number];
  return drawn("text", { x, y: y + 8, class: "star", "aria-hidden": "true" }, "★");
}

// Mark the place that is shown; of all places, only the kept one is reached by the Tab key.
function mark() {
  for (const [place, option] of options) {
    option.setAttribute("tabindex", place === state.kept ? 0 : -1);
    option.setAttribute("aria-selected", place === state.shown);
  }
  const outlines = ["outline light", "outline dark"].map((name) => {
    const outline = options.get(state.shown).firstChild.cloneNode();
    outline.setAttribute("fill", "none");
    if (outline.hasAttribute("r")) outline.setAttribute("r", Number(outline.getAttribute("r")) + 4);
    outline.setAttribute("class", name);
    return outline;
  });
  byId("mark").replaceChildren(...outlines);
}

function look(place) {
  if (place === state.shown) return;
  state.shown = place;
  mark();
  showPlace(place);
}

function keep(place, withFocus = false) {
  const isOnMap = options.has(place);
  state.kept = state.shown = place;
  if (isOnMap) mark(); else drawPlane();
  drawSliders();
  showPlace(place);
  // A screen reader reads what has got the focus by itself.
  if (withFocus) options.get(place).focus(); else byId("status").textContent = describe(place);
  remember(place);
}

// In a frame of a notebook, the address is not the page's own.
function remember(place) {
  if (location.protocol !== "about:") history.replaceState(null, "", `#place=${place}`);
}

function placeInAddress() {
  const place = Number(/^#place=(\d+)$/.exec(location.hash)?.[1] ?? NaN);
  return place < content.targets.length ? place : null;
}

function nearest(event) {
  const box = byId("plane").firstChild.getBoundingClientRect();
  const [x, y] = [event.clientX - box.left, event.clientY - box.top];
  const away = layout.positions.map((at) => Math.hypot(at[0] - x, at[1] - y));
  return places[away.indexOf(Math.min(...away))];
}

// The next place in a direction. One that is not straight ahead counts as farther away.
function neighbour(place, [right, up]) {
  const from = layout.positions[places.indexOf(place)];
  let [best, least] = [place, Infinity];
  layout.positions.forEach((at, number) => {
    const [x, y] = [at[0] - from[0], from[1] - at[1]];
    const ahead = x * right + y * up;
    const distance = ahead + 3 * Math.abs(x * up - y * right);
    if (ahead > 0.5 && distance < least) [best, least] = [places[number], distance];
  });
  return best;
}

const DIRECTIONS = {
  ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1],
};

// A curve has one direction only: up is to more bits, as right is.
function direction(key) {
  const [right, up] = DIRECTIONS[key];
  return state.axes === null ? [right + up, 0] : [right, up];
}

function placeOfKey(key) {
  if (key in DIRECTIONS) {
    const [right, up] = direction(key);
    if (state.axes !== null) return neighbour(state.kept, [right, up]);
    const order = [...places].sort((a, b) => content.rates[a][0] - content.rates[b][0]);
    return order[Math.min(Math.max(order.indexOf(state.kept) + right, 0), order.length - 1)];
  }
  return { Home: places[0], End: places.at(-1), Enter: state.shown, " ": state.shown }[key];
}

function listen(svg) {
  svg.addEventListener("pointermove", (event) => look(nearest(event)));
  svg.addEventListener("pointerleave", () => look(state.kept));
  svg.addEventListener("click", (event) => keep(nearest(event)));
  svg.addEventListener("keydown", (event) => {
    const place = placeOfKey(event.key);
    if (place === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    keep(place, true);
  });
}

function choice(id, name, entries, value, onChange) {
  const select = element("select", { id },
    ...entries.map((entry, number) => element("option", { value: number }, entry)));
  select.value = value;
  select.addEventListener("change", () => onChange(Number(select.value)));
  return element("label", {}, `${name} `, select);
}

function showAdvice() {
  byId("advised").textContent = placeName(metric().chosen);
  byId("reason").textContent = metric().reason;
}

function drawControls() {
  const layers = content.targets[0].map((_, layer) => `z${layer + 1}`);
  const axis = (number) => (layer) => {
    // The other axis cannot be the same layer: the two change places.
    if (state.axes[1 - number] === layer) state.axes[1 - number] = state.axes[number];
    state.axes[number] = layer;
    drawControls();
    drawPlane();
    byId(`axis-${number}`).focus();
  };
  byId("controls").replaceChildren(
    choice("metric", "Metric", mapped.map((own) => own.label), state.metric, (number) => {
      state.metric = number;
      drawPlane();
      showAdvice();
    }),
    ...(nLayers < 3 ? [] : [
      choice("axis-0", "to the right", layers, state.axes[0], axis(0)),
      choice("axis-1", "upwards", layers, state.axes[1], axis(1)),
    ]),
    element("div", { id: "sliders" }));
  drawSliders();
}

// A slider for the rate of each layer that is no axis of the map.
function drawSliders() {
  const focused = document.activeElement?.id;
  const layers = content.targets[0].map((_, layer) => layer)
    .filter((layer) => state.axes !== null && !state.axes.includes(layer));
  byId("sliders").replaceChildren(...layers.map((layer) => {
    const known = levels(content.targets.map((targets) => targets[layer]));
    const own = content.targets[state.kept][layer];
    const slider = element("input", {
      type: "range", id: `slider-${layer}`, min: 0, max: known.length - 1,
      value: known.indexOf(own), "aria-valuetext": bits(own),
    });
    slider.addEventListener("input", () => keep(closest(layer, known[slider.value])));
    return element("label", {}, swatch(layerColour(layer)), `z${layer + 1} `, slider,
      element("output", {}, bits(own)));
  }));
  if (focused?.startsWith("slider-")) byId(focused)?.focus();
}

// Of the places with a target of one layer, the one whose other targets differ least.
function closest(layer, target) {
  const own = content.targets[state.kept];
  const away = content.targets.map((targets) => (targets[layer] !== target ? Infinity
    : sum(targets.map((rate, n) => (n === layer ? 0 : Math.abs(Math.log(rate / own[n])))))));
  return away.indexOf(Math.min(...away));
}

function helpText() {
  const ofPlane = ["Dashed lines: equal total rate, in bits.", "White dots: measured rates."];
  return ["Point at a place to look, click to stay. On a keyboard: arrow keys, Home, End.",
    ...(state.axes === null ? [] : ofPlane), "Star: recommended."].join(" ");
}

function start() {
  // On a phone, what belongs to a place is to be near the map.
  byId("advice").open = window.matchMedia("(min-width: 46rem)").matches;
  byId("help").textContent = helpText();
  byId("numbers").lastElementChild.replaceWith(numbersTable());
  state.kept = state.shown = placeInAddress() ?? metric().chosen;
  drawControls();
  drawPlane();
  showAdvice();
  showPlace(state.kept);
  byId("go").addEventListener("click", () => keep(metric().chosen));
  window.addEventListener("hashchange", () => {
    const place = placeInAddress();
    if (place !== null) keep(place);
  });
  let width = byId("plane").clientWidth;
  const resize = () => {
    if (byId("plane").clientWidth === width) return;
    width = byId("plane").clientWidth;
    drawPlane();
    showPlace(state.shown);
  };
  // In the next frame, because an observer must not change sizes itself.
  new ResizeObserver(() => requestAnimationFrame(resize)).observe(byId("plane"));
}

start();
