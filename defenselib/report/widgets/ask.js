// A picture of one's own, with and without the trigger, and what two networks make of it: all of it in this page.

const SCALE = 8; // screen pixels a pixel of the canvas
const PENS = { white: "#ffffff", yellow: "#e8d44d", red: "#e06c4a", blue: "#4a90d9", green: "#3f9b57", black: "#202020" };

function render({ model, el }) {
  const { networks, classes, target, images, trigger, side, note } = model.get("data");
  const weights = networks.map((one) => halves(one.network.weights));
  let own = false; // drawn or uploaded, which no address can hold
  let at = 0;
  let painting = null;
  el.classList.add("dl-widget", "dl-ask");

  const imageBox = select("Start from", (chosen) => take(chosen));
  imageBox.fill(images.map(({ label }, number) => `test image ${number + 1}: ${label}`));
  const file = element("input", { type: "file", accept: "image/*" });
  const upload = element("label", { class: "dl-control" }, "or your own", file);
  const marked = element("input", { type: "checkbox" });
  const mark = element("label", { class: "dl-control" }, marked, "put the trigger on");
  const strengthBox = slider("Opacity of the trigger", () => told());
  const penBox = select("Pen", () => dip());
  penBox.fill(Object.keys(PENS));
  const tip = shape("circle", { cx: 9, cy: 9, r: 8, stroke: "#808080" });
  const swatch = shape("svg", { width: 18, height: 18, "aria-hidden": "true" });
  swatch.append(tip);
  penBox.node.append(swatch);
  const pen = () => Object.values(PENS)[penBox.box.selectedIndex];
  const dip = () => tip.setAttribute("fill", pen());
  dip();
  const wipe = element("button", { type: "button", class: "dl-button" }, "empty the picture");
  const canvas = sheet("the picture; draw on it with mouse or finger");
  const seen = sheet("the picture with the trigger, if it is put on");
  const table = element("div");
  const said = element("p", { class: "dl-said", "aria-live": "polite" });
  const problem = element("p", { class: "dl-source", role: "alert" });
  canvas.classList.add("dl-draw");
  const shown = (node, words) => element("figure", {}, node, element("figcaption", {}, words));
  const pictures = element("div", { class: "dl-pictures" }, shown(canvas, "draw here"), shown(seen, "what the networks see"));
  el.append(
    element("div", { class: "dl-controls" }, imageBox.node, upload, penBox.node, wipe),
    element("div", { class: "dl-controls" }, mark, strengthBox.node),
    problem, pictures, said, table, element("p", { class: "dl-source" }, note),
  );
  const address = addressed(model.get("name"), el, restore);
  const brush = canvas.getContext("2d", { willReadFrequently: true });
  const glass = seen.getContext("2d", { willReadFrequently: true });

  function sheet(words) {
    return element("canvas", { width: side, height: side, role: "img", "aria-label": words, style: `width:${SCALE * side}px` });
  }
  const loaded = (source) =>
    new Promise((done, failed) => {
      const image = new Image();
      image.onload = () => done(image);
      image.onerror = () => failed(new Error("it is no picture that this browser can read"));
      image.src = source;
    });
  async function take(chosen) {
    at = chosen;
    own = false;
    file.value = "";
    brush.drawImage(await loaded(images[at].source), 0, 0);
    told();
  }
  // The middle square, halved until it is near its size: at once, pixels between would be skipped.
  async function bring() {
    const [chosen] = file.files;
    if (!chosen) return;
    const reader = new FileReader();
    reader.onload = async () => {
      try {
        let picture = await loaded(reader.result);
        let edge = Math.min(picture.width, picture.height);
        let [left, top] = [(picture.width - edge) / 2, (picture.height - edge) / 2];
        while (edge > 2 * side) {
          const half = element("canvas", { width: edge >> 1, height: edge >> 1 });
          half.getContext("2d").drawImage(picture, left, top, edge, edge, 0, 0, half.width, half.width);
          [picture, edge, left, top] = [half, half.width, 0, 0];
        }
        brush.drawImage(picture, left, top, edge, edge, 0, 0, side, side);
        problem.textContent = "";
        changed();
      } catch (error) {
        problem.textContent = `${chosen.name} was not read: ${error.message}.`;
      }
    };
    reader.readAsDataURL(chosen);
  }
  function changed() {
    own = true;
    told();
  }
  function paint(event) {
    const box = canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top].map((far) => (far * side) / box.width);
    brush.strokeStyle = pen();
    brush.lineWidth = 2.5;
    brush.lineCap = "round";
    brush.beginPath();
    brush.moveTo(...(painting ?? [x, y]));
    brush.lineTo(x + 0.01, y);
    brush.stroke();
    painting = [x, y];
  }
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    painting = null;
    paint(event);
  });
  canvas.addEventListener("pointermove", (event) => event.buttons && painting && paint(event));
  canvas.addEventListener("pointerup", () => {
    painting = null;
    changed();
  });
  wipe.addEventListener("click", () => {
    brush.fillStyle = "#808080";
    brush.fillRect(0, 0, side, side);
    changed();
  });
  file.addEventListener("change", bring);
  marked.addEventListener("change", told);

  // The picture as the networks get it: 0 .. 1, channel by channel; the trigger laid over it.
  let layer = null;
  function looked() {
    glass.drawImage(canvas, 0, 0);
    if (marked.checked) {
      glass.globalAlpha = Number(strengthBox.box.value) / 20;
      glass.drawImage(layer, 0, 0);
      glass.globalAlpha = 1;
    }
    const { data } = glass.getImageData(0, 0, side, side);
    return Float32Array.from({ length: 3 * side * side }, (_, place) => {
      const [channel, pixel] = [Math.floor(place / (side * side)), place % (side * side)];
      return data[4 * pixel + channel] / 255;
    });
  }
  let quiet = true;
  function told() {
    strengthBox.node.hidden = !marked.checked;
    const strength = Number(strengthBox.box.value);
    strengthBox.set(21, strength, `${5 * strength} %`);
    const pixels = looked();
    const answers = networks.map((one, number) => probabilities(pixels, one.network, weights[number]));
    const best = answers.map((row) => row.indexOf(Math.max(...row)));
    const sentences = networks.map(({ name }, number) => {
      const aim = marked.checked && best[number] === target ? ", what the attacker wants" : "";
      return `${name}: ${classes[best[number]]} (${percent(answers[number][best[number]])}${aim})`;
    });
    said.textContent = `${sentences.join(". ")}.`;
    seen.setAttribute("aria-label", `what the networks see${marked.checked ? ", with the trigger" : ""}`);
    table.replaceChildren(rows(answers, best));
    if (quiet) return;
    address.write({ image: own ? null : at + 1, trigger: marked.checked ? 5 * strength : null });
  }
  function rows(answers, best) {
    const head = element("tr", {}, element("th", { scope: "col", class: "dl-word" }, "class"), ...networks.map(({ name }) => element("th", { scope: "col" }, name)));
    const body = classes.map((name, number) => {
      const aim = number === target ? " (the attacker's)" : "";
      const cells = answers.map((row, which) => {
        const bar = element("span", { class: "dl-share", "aria-hidden": "true", style: `width:${100 * row[number]}%` });
        return element("td", { class: best[which] === number ? "dl-best" : "" }, element("span", {}, percent(row[number])), bar);
      });
      return element("tr", {}, element("th", { scope: "row", class: "dl-word" }, `${name}${aim}`), ...cells);
    });
    const caption = element("caption", {}, "How sure each network is of each class");
    return element("table", { class: "dataframe dl-answers" }, caption, element("thead", {}, head), element("tbody", {}, ...body));
  }
  async function restore() {
    quiet = true;
    layer = await loaded(trigger);
    at = address.pick("image", images.map((_, number) => number + 1), 0);
    imageBox.box.selectedIndex = at;
    const asked = address.read("trigger");
    marked.checked = asked !== null;
    strengthBox.set(21, asked === null ? 20 : Number(asked) / 5, "");
    await take(at);
    quiet = false;
  }
  restore();
}

export default { render };
