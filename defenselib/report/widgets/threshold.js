// A score's histogram, a threshold to move, and what the pool on its clean side holds.

let patterns = 0; // ids of hatches are looked up in the whole page

function render({ model, el }) {
  const { methods } = model.get("data");
  const palette = model.get("palette");
  let method, setting, view, place;
  const methodBox = select("Method", (at) => stay(() => chooseMethod(at)));
  const settingBox = select("Data and attack", (at) => stay(() => chooseSetting(at)));
  const viewBox = select("Score", (at) => stay(() => chooseView(at)));
  const thresholdBox = slider("Threshold", (at) => stay(() => move(at)));
  const own = element("button", { type: "button", class: "dl-button" }, "the method's own threshold");
  own.addEventListener("click", () => stay(() => move(view.own)));
  const drawing = element("div", { role: "group", "aria-label": "Histogram; the arrow keys move the threshold" });
  const numbers = element("div");
  const source = element("p", { class: "dl-source" });
  const controls = element("div", { class: "dl-controls" }, methodBox.node, settingBox.node, viewBox.node);
  if (methods.length < 2) methodBox.node.hidden = true;
  el.classList.add("dl-widget");
  const width = roomy(el, () => move(place));
  el.append(controls, drawing, element("div", { class: "dl-controls" }, thresholdBox.node, own), numbers, source);
  const address = addressed(model.get("name"), el, restore);

  function chooseMethod(at, run = 0, score = 0) {
    method = methods[at];
    methodBox.box.selectedIndex = at;
    settingBox.fill(method.settings.map((one) => one.name));
    chooseSetting(run, score);
  }
  function chooseSetting(at, score = 0) {
    setting = method.settings[at];
    settingBox.box.selectedIndex = at;
    viewBox.fill(setting.views.map((one) => one.name));
    chooseView(score);
  }
  function chooseView(at) {
    view = setting.views[at];
    viewBox.box.selectedIndex = at;
    own.hidden = view.own === null;
    const scope = view.scope ? ` Counted: ${view.scope}.` : "";
    const rule = view.rule ? ` The method's own pool: ${view.rule}.` : " The method does not cut here.";
    source.textContent = `Evidence: ${setting.evidence}.${rule}${scope}`;
    move(view.start);
  }
  // What a reader did, after which the address says it.
  function stay(done) {
    done();
    const at = place === view.start ? null : view.rows[place][0];
    address.write({ method: method.name, run: setting.name, score: view.name, at });
  }
  function restore() {
    const at = address.pick("method", methods.map((one) => one.name), 0);
    const run = address.pick("run", methods[at].settings.map((one) => one.name), 0);
    chooseMethod(at, run, address.pick("score", methods[at].settings[run].views.map((one) => one.name), 0));
    if (address.read("at") !== null) move(nearest(Number(address.read("at"))));
  }
  function nearest(threshold) {
    const apart = view.rows.map(([here]) => Math.abs(here - threshold));
    return apart.indexOf(Math.min(...apart));
  }
  const within = (share) => {
    const [low, high] = view.range;
    return nearest(low + ((share * width() - EDGE.left) / (width() - EDGE.left - EDGE.right)) * (high - low));
  };
  const stepped = (step) => Math.max(0, Math.min(view.rows.length - 1, place + step));
  pointed(
    drawing,
    within,
    () => {}, // only a press moves the threshold
    (seen, step) => stay(() => move(seen ?? stepped(step))),
  );

  function move(at) {
    place = at;
    const [threshold, pool, poison, precision, recall, caught] = view.rows[place];
    const believed = `${grouped(pool)} of ${grouped(view.total)} (${percent(pool / view.total)})`;
    thresholdBox.set(view.rows.length, place, `${short(threshold)}: ${believed} believed clean`);
    numbers.replaceChildren(
      facts([
        ["threshold", short(threshold)],
        ["believed clean", believed],
        ["poisoned among them", `${grouped(poison)} of ${grouped(view.all_poisoned)}`],
        ["precision: truly clean, of the pool", percent(precision)],
        ["recall: in the pool, of the clean", percent(recall)],
        ["poison kept out", percent(caught)],
      ]),
    );
    draw(threshold, believed, poison);
  }
  function draw(threshold, believed, poison) {
    const [low, high] = view.range;
    const most = Math.max(...view.clean, ...view.poisoned, 1);
    const yticks = [0, 1, 10, 100, 1000, 10000, 100000].filter((tick) => tick <= 3 * most);
    const area = chart(palette, {
      width: width(),
      xs: [low, high],
      ys: [0, Math.max(1.3 * most, yticks.at(-1))],
      xticks: evenly(low, high, width() < 420 ? 3 : 5).map((tick) => [tick, short(tick)]),
      yticks,
      xlabel: `${method.name}: ${view.axis}`,
      ylabel: "samples (log scale)",
      yscale: Math.log1p,
    });
    const hatch = `dl-hatch-${(patterns += 1)}`;
    const pattern = shape("pattern", { id: hatch, width: 6, height: 6, patternUnits: "userSpaceOnUse" });
    pattern.setAttribute("patternTransform", "rotate(45)");
    pattern.append(shape("rect", { width: 6, height: 6, fill: palette.poisoned, "fill-opacity": 0.35 }));
    pattern.append(shape("line", { y2: 6, stroke: palette.poisoned, "stroke-width": 3 }));
    area.svg.append(pattern);
    const at = area.x(threshold);
    const [from, to] = view.keeps === "low" ? [area.left, at] : [at, area.right];
    const [top, tall] = [area.top, area.bottom - area.top];
    area.svg.append(shape("rect", { x: from, y: top, width: Math.max(0, to - from), height: tall, fill: "#eef3f7" }));
    for (const [counts, colour, fill, seen] of [
      [view.clean, palette.clean, palette.clean, 0.45],
      [view.poisoned, palette.poisoned, `url(#${hatch})`, 1],
    ]) {
      const width = (high - low) / counts.length;
      let path = `M${area.left} ${area.bottom}`;
      counts.forEach((count, bin) => {
        path += `V${area.y(count)}H${area.x(low + (bin + 1) * width)}`;
      });
      area.svg.append(shape("path", { d: `${path}V${area.bottom}Z`, fill, "fill-opacity": seen, stroke: colour }));
    }
    if (view.own !== null) {
      const mark = area.x(view.rows[view.own][0]);
      const dashes = { "stroke-dasharray": "5 4", stroke: palette.ink };
      area.svg.append(shape("line", { x1: mark, x2: mark, y1: area.top, y2: area.bottom, ...dashes }));
    }
    const line = { x1: at, x2: at, y1: area.top, y2: area.bottom, stroke: palette.ink, "stroke-width": 2.5 };
    area.svg.append(shape("line", line));
    const side = { "font-size": 13, fill: palette.ink };
    area.svg.append(shape("rect", { x: 8, y: 8, width: 12, height: 12, fill: palette.clean, "fill-opacity": 0.45, stroke: palette.clean }));
    area.svg.append(shape("text", { x: 26, y: 19, ...side }, "clean"));
    area.svg.append(shape("rect", { x: 72, y: 8, width: 12, height: 12, fill: `url(#${hatch})`, stroke: palette.poisoned }));
    area.svg.append(shape("text", { x: 90, y: 19, ...side }, "poisoned"));
    const words = view.keeps === "low" ? "◀ believed clean" : "believed clean ▶";
    area.svg.append(shape("text", { x: area.right, y: 19, "text-anchor": "end", ...side }, words));
    area.svg.setAttribute(
      "aria-label",
      `Histogram of ${view.axis}, clean and poisoned samples. At threshold ${short(threshold)} the pool holds ${believed}, ` +
        `${poison} of them poisoned.`,
    );
    drawing.replaceChildren(area.svg);
  }
  methodBox.fill(methods.map((one) => one.name));
  restore();
}

export default { render };
