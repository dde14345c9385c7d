// Accuracy, attack success and poison in the clean pool by epoch, and the numbers of the epoch that is pointed at; two
// defenses one above the other over the same epochs.

function render({ model, el }) {
  const { methods, start } = model.get("data");
  const palette = model.get("palette");
  let at = [start, 0]; // method and run of the first
  let other = null; // the same of the second
  let rivals = [];
  let place = 0;
  const methodBox = select("Method", (chosen) => choose([chosen, 0]));
  const runBox = select("Data and attack", (chosen) => choose([at[0], chosen]));
  const otherBox = select("Beside it", (chosen) => compare(chosen));
  const epochBox = slider("Epoch", (chosen) => stay(chosen));
  const drawing = element("div", { role: "group", "aria-label": "Curves; the arrow keys move the marked epoch" });
  const numbers = element("div");
  const source = element("p", { class: "dl-source" });
  if (methods.length < 2) methodBox.node.hidden = true;
  el.classList.add("dl-widget");
  const controls = element("div", { class: "dl-controls" }, methodBox.node, runBox.node, otherBox.node);
  el.append(controls, drawing, element("div", { class: "dl-controls" }, epochBox.node), numbers, source);
  const width = roomy(el, () => move(place));
  const address = addressed(model.get("name"), el, restore);
  const shown = () => [at, ...(other ? [other] : [])].map(([method, run]) => [methods[method], methods[method].runs[run]]);
  const longest = () => Math.max(...shown().map(([, run]) => run.rows.length));
  const called = ([method, run]) => `${methods[method].name}: ${methods[method].runs[run].name}`;

  // Runs of other methods on the same data, under the same attack, at the same profile; those with the very same poison
  // come first.
  function rivalsOf([mine, place]) {
    const run = methods[mine].runs[place];
    const found = methods.flatMap((method, number) =>
      method.runs.map((one, row) => [number, row]).filter(([, row]) => number !== mine && method.runs[row].field === run.field),
    );
    const strange = ([number, row]) => (methods[number].runs[row].poison === run.poison ? 0 : 1);
    return found.sort((one, two) => strange(one) - strange(two));
  }
  function choose(chosen, epoch = null) {
    at = chosen;
    methodBox.fill(methods.map((one) => one.name), at[0]);
    runBox.fill(methods[at[0]].runs.map((one) => one.name), at[1]);
    rivals = rivalsOf(at);
    other = rivals.find((one) => other && called(one) === called(other)) ?? null;
    otherBox.fill(["nothing", ...rivals.map(called)], other ? 1 + rivals.indexOf(other) : 0);
    otherBox.node.hidden = rivals.length === 0;
    arrange(epoch);
  }
  function compare(chosen) {
    other = chosen ? rivals[chosen - 1] : null;
    arrange(null);
  }
  function arrange(epoch) {
    const ends = shown().map(([method, run]) => {
      const asr = run.asr === null ? "" : `, ASR ${points(run.asr)}`;
      return `${method.name}: ${run.evidence}; at the end, on all test images, ACC ${points(run.acc)}${asr}.`;
    });
    const poisons = new Set(shown().map(([, run]) => run.poison));
    const apart = poisons.size > 1 ? ` Not the same poison, so compare shapes and not points: ${shown().map(([method, run]) => `${method.name} ${run.poison_words}`).join("; ")}.` : "";
    source.textContent = `Evidence: ${ends.join(" ")}${apart} On the way ACC and ASR are taken on a part of the test images.`;
    move(Math.min(epoch ?? Infinity, longest() - 1));
    if (epoch === null) remember();
  }
  let quiet = true; // what is shown at first is not written into the address
  function remember() {
    if (quiet) return;
    const last = place === longest() - 1;
    address.write({ method: methods[at[0]].name, run: methods[at[0]].runs[at[1]].name, beside: other && called(other), epoch: last ? null : place + 1 });
  }
  function stay(chosen) {
    move(chosen);
    remember();
  }
  const poisonShare = ([, , , , pool, poison]) => (pool ? (100 * poison) / pool : null);
  function told([, run], here) {
    const row = run.rows[Math.min(here, run.rows.length - 1)];
    const [stage, epoch, acc, asr, pool, poison] = row;
    const ended = here >= run.rows.length ? " (has ended)" : "";
    const pairs = [["stage, epoch", `${stage}, ${epoch}${ended}`], ["ACC", points(acc)], ["ASR", points(asr)]];
    if (pool !== null) {
      pairs.push(["clean pool", `${grouped(pool)} samples`]);
      pairs.push(["poisoned in the pool", `${grouped(poison)} of ${grouped(run.poisoned)} (${points(poisonShare(row))} of the pool)`]);
    }
    return pairs;
  }
  // here: where a pointer rests; the place itself stays.
  function move(chosen, here = chosen) {
    place = chosen;
    const said = shown().map((one) => told(one, here));
    epochBox.set(longest(), here, `epoch ${here + 1} of ${longest()}: ${said[0][0][1]}`);
    numbers.replaceChildren(
      ...shown().flatMap(([method], number) => [...(other ? [element("p", { class: "dl-name" }, method.name)] : []), facts(said[number])]),
    );
    drawing.replaceChildren(...shown().map((one, number) => draw(one, said[number], here)));
  }
  function draw([method, run], pairs, here) {
    const last = Math.max(1, longest() - 1);
    const step = Math.max(1, Math.ceil(longest() / (width() < 420 ? 5 : 10)));
    const xticks = Array.from({ length: longest() }, (_, tick) => [tick, String(tick + 1)]).filter((_, tick) => tick % step === 0);
    const yticks = [0, 20, 40, 60, 80, 100];
    const height = other ? 230 : 300;
    const area = chart(palette, { width: width(), height, xs: [0, last], ys: [0, 100], xticks, yticks, xlabel: "epochs, all stages in a row", ylabel: "%" });
    stages(area, run);
    const lines = [
      ["ACC", palette.acc, "", (row) => row[2]],
      ["ASR", palette.asr, "7 4", (row) => row[3]],
      ["poison in the pool", palette.pool, "2 3", poisonShare],
    ];
    let left = 8;
    for (const [name, stroke, dashes, value] of lines) {
      const known = run.rows.map((row, epoch) => [epoch, value(row)]).filter(([, found]) => found !== null);
      if (known.length === 0) continue;
      const look = { fill: "none", stroke, "stroke-width": 2.5, "stroke-dasharray": dashes };
      area.svg.append(shape("polyline", { points: known.map(([epoch, found]) => `${area.x(epoch)},${area.y(found)}`).join(" "), ...look }));
      if (known.length < 3) {
        for (const [epoch, found] of known) area.svg.append(shape("circle", { cx: area.x(epoch), cy: area.y(found), r: 3.5, fill: stroke }));
      }
      const mark = known.find(([epoch]) => epoch === here);
      if (mark) area.svg.append(shape("circle", { cx: area.x(here), cy: area.y(mark[1]), r: 5, fill: stroke }));
      area.svg.append(shape("line", { x1: left, x2: left + 22, y1: 14, y2: 14, ...look }));
      area.svg.append(shape("text", { x: left + 27, y: 19, "font-size": 13, fill: palette.ink }, name));
      left += 42 + 6.6 * name.length;
    }
    if (other) area.svg.append(shape("text", { x: area.right, y: 19, "text-anchor": "end", "font-weight": 600, "font-size": 14, fill: palette.ink }, method.name));
    const x = area.x(here);
    area.svg.append(shape("line", { x1: x, x2: x, y1: area.top, y2: area.bottom, stroke: palette.ink, "stroke-width": 1.5 }));
    const words = pairs.map(([name, value]) => `${name} ${value}`).join("; ");
    area.svg.setAttribute("aria-label", `Curves by epoch of ${method.name} on ${run.name}. Marked: ${words}.`);
    return area.svg;
  }
  // Where a stage begins, a dashed line; its name where there is room.
  function stages(area, run) {
    const starts = run.rows.map((_, epoch) => epoch).filter((epoch) => epoch === 0 || run.rows[epoch][0] !== run.rows[epoch - 1][0]);
    starts.forEach((epoch, number) => {
      const [x, end] = [area.x(Math.max(0, epoch - 0.5)), area.x((starts[number + 1] ?? run.rows.length) - 0.5)];
      const name = run.rows[epoch][0];
      const halo = { "paint-order": "stroke", stroke: palette.paper, "stroke-width": 4 };
      const look = { x: x + 4, y: area.bottom - 6, "font-size": 12, "font-style": "italic", fill: palette.ink, ...halo };
      if (starts.length > 1 && end - x > 6.5 * name.length) area.svg.append(shape("text", look, name));
      if (epoch > 0) area.svg.append(shape("line", { x1: x, x2: x, y1: area.top, y2: area.bottom, stroke: "#8a8a8a", "stroke-dasharray": "2 3" }));
    });
  }
  function restore() {
    quiet = true;
    const method = address.pick("method", methods.map((one) => one.name), start);
    const run = address.pick("run", methods[method].runs.map((one) => one.name), 0);
    const places = rivalsOf([method, run]);
    const beside = address.pick("beside", places.map(called), -1);
    other = places[beside] ?? null;
    const epoch = Number(address.read("epoch"));
    choose([method, run], epoch > 0 ? epoch - 1 : null);
    quiet = false;
  }
  const within = (share) => {
    const x = (share * width() - EDGE.left) / (width() - EDGE.left - EDGE.right);
    return Math.max(0, Math.min(longest() - 1, Math.round(x * Math.max(1, longest() - 1))));
  };
  pointed(drawing, within, (seen) => move(place, seen ?? place), (seen, step) => stay(seen ?? Math.max(0, Math.min(longest() - 1, place + step))));
  restore();
}

export default { render };
