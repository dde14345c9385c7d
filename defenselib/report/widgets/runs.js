// Accuracy, attack success and poison in the clean pool by epoch, and the numbers of the epoch that is pointed at.

function render({ model, el }) {
  const { methods } = model.get("data");
  const palette = model.get("palette");
  let method, run, place;
  const methodBox = select("Method", (at) => chooseMethod(at));
  const runBox = select("Data and attack", (at) => chooseRun(at));
  const epochBox = slider("Epoch", (at) => move(at));
  const drawing = element("div");
  const numbers = element("div");
  const source = element("p", { class: "dl-source" });
  if (methods.length < 2) methodBox.node.hidden = true;
  el.classList.add("dl-widget");
  const width = roomy(el, () => move(place));
  const controls = element("div", { class: "dl-controls" }, methodBox.node, runBox.node);
  el.append(controls, drawing, element("div", { class: "dl-controls" }, epochBox.node), numbers, source);

  function chooseMethod(at) {
    method = methods[at];
    runBox.fill(method.runs.map((one) => one.name));
    chooseRun(0);
  }
  function chooseRun(at) {
    run = method.runs[at];
    const ends = run.asr === null ? "" : `, ASR ${points(run.asr)}`;
    source.textContent =
      `Evidence: ${run.evidence}. On the way ACC and ASR are taken on a part of the test images; ` +
      `at the end, on all of them: ACC ${points(run.acc)}${ends}.`;
    move(run.rows.length - 1);
  }
  const poisonShare = ([, , , , pool, poison]) => (pool ? (100 * poison) / pool : null);
  function move(at) {
    place = at;
    const row = run.rows[place];
    const [stage, epoch, acc, asr, pool, poison] = row;
    epochBox.set(run.rows.length, place, `${stage}, epoch ${epoch}`);
    const pairs = [
      ["stage, epoch", `${stage}, ${epoch}`],
      ["ACC", points(acc)],
      ["ASR", points(asr)],
    ];
    if (pool !== null) {
      pairs.push(["clean pool", `${grouped(pool)} samples`]);
      pairs.push(["poisoned in the pool", `${grouped(poison)} of ${grouped(run.poisoned)} (${points(poisonShare(row))} of the pool)`]);
    }
    numbers.replaceChildren(facts(pairs));
    draw(pairs);
  }
  function draw(pairs) {
    const last = Math.max(1, run.rows.length - 1);
    const step = Math.max(1, Math.ceil(run.rows.length / (width() < 420 ? 5 : 10)));
    const xticks = run.rows.map((_, at) => [at, String(at + 1)]).filter((_, at) => at % step === 0);
    const yticks = [0, 20, 40, 60, 80, 100];
    const area = chart(palette, { width: width(), xs: [0, last], ys: [0, 100], xticks, yticks, xlabel: "epochs, all stages in a row", ylabel: "%" });
    const names = [];
    const starts = run.rows.map((_, at) => at).filter((at) => at === 0 || run.rows[at][0] !== run.rows[at - 1][0]);
    starts.forEach((at, number) => {
      const [x, end] = [area.x(Math.max(0, at - 0.5)), area.x((starts[number + 1] ?? run.rows.length) - 0.5)];
      const name = run.rows[at][0];
      const halo = { "paint-order": "stroke", stroke: palette.paper, "stroke-width": 4 };
      const look = { x: x + 4, y: area.bottom - 6, "font-size": 12, "font-style": "italic", fill: palette.ink, ...halo };
      if (starts.length > 1 && end - x > 6.5 * name.length) names.push(shape("text", look, name));
      if (at === 0) return;
      area.svg.append(shape("line", { x1: x, x2: x, y1: area.top, y2: area.bottom, stroke: "#8a8a8a", "stroke-dasharray": "2 3" }));
    });
    const lines = [
      ["ACC", palette.acc, "", (row) => row[2]],
      ["ASR", palette.asr, "7 4", (row) => row[3]],
      ["poison in the pool", palette.pool, "2 3", poisonShare],
    ];
    let left = 8;
    for (const [name, stroke, dashes, value] of lines) {
      const known = run.rows.map((row, at) => [at, value(row)]).filter(([, found]) => found !== null);
      if (known.length === 0) continue;
      const look = { fill: "none", stroke, "stroke-width": 2.5, "stroke-dasharray": dashes };
      area.svg.append(shape("polyline", { points: known.map(([at, found]) => `${area.x(at)},${area.y(found)}`).join(" "), ...look }));
      if (known.length < 3) {
        for (const [at, found] of known) area.svg.append(shape("circle", { cx: area.x(at), cy: area.y(found), r: 3.5, fill: stroke }));
      }
      const here = known.find(([at]) => at === place);
      if (here) area.svg.append(shape("circle", { cx: area.x(place), cy: area.y(here[1]), r: 5, fill: stroke }));
      area.svg.append(shape("line", { x1: left, x2: left + 22, y1: 14, y2: 14, ...look }));
      area.svg.append(shape("text", { x: left + 27, y: 19, "font-size": 13, fill: palette.ink }, name));
      left += 42 + 6.6 * name.length;
    }
    area.svg.append(...names);
    const at = area.x(place);
    area.svg.append(shape("line", { x1: at, x2: at, y1: area.top, y2: area.bottom, stroke: palette.ink, "stroke-width": 1.5 }));
    const said = pairs.map(([name, value]) => `${name} ${value}`).join("; ");
    area.svg.setAttribute("aria-label", `Curves by epoch of ${method.name} on ${run.name}. Marked: ${said}.`);
    drawing.replaceChildren(area.svg);
  }
  const { start } = model.get("data");
  methodBox.fill(methods.map((one) => one.name), start);
  chooseMethod(start);
}

export default { render };
