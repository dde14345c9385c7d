// What all scripts of these widgets share: elements, labelled controls, a chart with axes.

const NAMESPACE = "http://www.w3.org/2000/svg";

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function shape(tag, attributes = {}, text = "") {
  const made = document.createElementNS(NAMESPACE, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
}

// A labelled <select>; `fill` replaces its options and keeps the choice where it is still there.
function select(label, changed) {
  const box = element("select");
  box.addEventListener("change", () => changed(box.selectedIndex));
  const fill = (options, chosen = 0) => {
    box.replaceChildren(...options.map((option) => element("option", {}, option)));
    box.selectedIndex = chosen;
  };
  return { node: element("label", { class: "dl-control" }, label, box), box, fill };
}

// A labelled slider over 0 .. n-1.
function slider(label, changed) {
  const box = element("input", { type: "range", min: 0, step: 1 });
  box.addEventListener("input", () => changed(Number(box.value)));
  const set = (count, value, words) => {
    box.max = Math.max(0, count - 1);
    box.value = value;
    box.setAttribute("aria-valuetext", words);
  };
  return { node: element("label", { class: "dl-control dl-wide" }, label, box), box, set };
}

function facts(pairs) {
  const list = element("dl", { class: "dl-facts", "aria-live": "polite" });
  for (const [name, value] of pairs) {
    list.append(element("div", {}, element("dt", {}, name), element("dd", {}, value)));
  }
  return list;
}

const percent = (share) => (share === null ? "–" : `${(100 * share).toFixed(1)} %`);
const points = (value) => (value === null ? "–" : `${value.toFixed(1)} %`);
const grouped = (count) => (count === null ? "–" : count.toLocaleString("en"));
const short = (value) => String(Number(value.toPrecision(3)));

// As wide as there is room, so that letters keep their size on a phone; drawn again when that changes.
function roomy(el, redraw) {
  const width = () => Math.max(280, Math.min(700, el.clientWidth || 640));
  let drawn = width();
  new ResizeObserver(() => {
    if (width() === drawn) return;
    drawn = width();
    redraw();
  }).observe(el);
  return width;
}

// A chart on white, like every figure of the book. `x` and `y` turn data into places.
const EDGE = { left: 62, right: 14, top: 26, bottom: 44 };
function chart(palette, { width, height = 300, xs, ys, xticks, yticks, xlabel, ylabel, yscale = (v) => v }) {
  const edge = EDGE;
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", class: "dl-chart" });
  svg.append(shape("rect", { width, height, fill: palette.paper, rx: 6 }));
  const inner = [width - edge.left - edge.right, height - edge.top - edge.bottom];
  const x = (value) => edge.left + (inner[0] * (value - xs[0])) / (xs[1] - xs[0]);
  const [low, high] = ys.map(yscale);
  const y = (value) => edge.top + inner[1] * (1 - (yscale(value) - low) / (high - low));
  const ink = { fill: palette.ink, "font-size": 13 };
  for (const tick of yticks) {
    svg.append(shape("line", { x1: edge.left, x2: width - edge.right, y1: y(tick), y2: y(tick), stroke: palette.grid }));
    svg.append(shape("text", { x: edge.left - 6, y: y(tick) + 4, "text-anchor": "end", ...ink }, grouped(tick)));
  }
  for (const [place, text] of xticks) {
    svg.append(shape("text", { x: x(place), y: height - 26, "text-anchor": "middle", ...ink }, text));
  }
  svg.append(shape("text", { x: edge.left + inner[0] / 2, y: height - 7, "text-anchor": "middle", ...ink }, xlabel));
  const turn = `translate(13 ${edge.top + inner[1] / 2}) rotate(-90)`;
  svg.append(shape("text", { transform: turn, "text-anchor": "middle", ...ink }, ylabel));
  return { svg, x, y, top: edge.top, bottom: edge.top + inner[1], left: edge.left, right: width - edge.right };
}

const evenly = (low, high, count) => Array.from({ length: count }, (_, i) => low + ((high - low) * i) / (count - 1));
