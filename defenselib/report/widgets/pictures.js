// What an attack does to an image: clean, as trained on, the change; where the trigger at test time is another, that too.
// All strengths of an attack lie in one sheet, a row an image. Where the attack has no strength of its own, its change is
// taken more or less strongly here.

function render({ model, el }) {
  const { attacks, magnify, missing } = model.get("data");
  let attack, sheet;
  let image = 0;
  let step = 0;
  el.classList.add("dl-widget");
  const attackBox = select("Attack", (at) => stay(() => choose(at, image, null)));
  const imageBox = select("Image", (at) => stay(() => move(at, step)));
  const stepBox = slider("Strength", (at) => stay(() => move(image, at)));
  const own = element("button", { type: "button", class: "dl-button" }, "as the paper sets it");
  own.addEventListener("click", () => stay(() => move(image, attack.own)));
  const pictures = element("div", { class: "dl-pictures" });
  const far = element("p", { class: "dl-said", "aria-live": "polite" });
  const source = element("p", { class: "dl-source" });
  const lines = [element("div", { class: "dl-controls" }, attackBox.node, imageBox.node)];
  lines.push(element("div", { class: "dl-controls" }, stepBox.node, own));
  el.append(...lines, pictures, far, source);
  if (missing.length) el.append(element("p", { class: "dl-source" }, `Not prepared in this store, so not shown: ${missing.join(", ")}.`));
  const address = addressed(model.get("name"), el, restore);

  async function choose(at, number, chosen) {
    attack = attacks[at];
    attackBox.box.selectedIndex = at;
    const count = attack.far.length;
    imageBox.fill(Array.from({ length: count }, (_, one) => String(one + 1)), Math.min(number, count - 1));
    const picture = new Image();
    picture.src = attack.sheet;
    await picture.decode();
    const canvas = element("canvas", { width: picture.width, height: picture.height });
    sheet = canvas.getContext("2d", { willReadFrequently: true });
    sheet.drawImage(picture, 0, 0);
    source.textContent = attack.source;
    move(Math.min(number, count - 1), chosen ?? attack.own);
  }
  const cut = (column) => sheet.getImageData(column * attack.side, image * attack.side, attack.side, attack.side);
  // before, and the column of the changed picture at this strength.
  function changed(before, column) {
    if (attack.columns > 1) return cut(column + step);
    const after = cut(column);
    return blended(before, after, attack.values[step]);
  }
  function blended(before, after, share) {
    const data = before.data.map((value, at) => (at % 4 === 3 ? 255 : value + share * (after.data[at] - value)));
    return new ImageData(data, attack.side);
  }
  function magnified(before, after) {
    const data = before.data.map((value, at) => (at % 4 === 3 ? 255 : 128 + magnify * (after.data[at] - value)));
    return new ImageData(data, attack.side);
  }
  function shown(data, words, said) {
    const canvas = element("canvas", { width: attack.side, height: attack.side, role: "img", "aria-label": said });
    canvas.style.width = "100%";
    canvas.getContext("2d").putImageData(data, 0, 0);
    return element("figure", {}, canvas, element("figcaption", {}, words));
  }
  function move(number, chosen) {
    image = number;
    step = Math.max(0, Math.min(attack.values.length - 1, chosen));
    imageBox.box.selectedIndex = image;
    const value = `${attack.knob} ${short(attack.values[step])}${step === attack.own ? " (the paper)" : ""}`;
    stepBox.set(attack.values.length, step, value);
    own.disabled = step === attack.own;
    const words = `image ${image + 1} of ${attack.name}, ${value}`;
    const clean = cut(0);
    const stored = changed(clean, 1);
    const found = [shown(clean, "clean", `clean ${words}`), shown(stored, "as trained on", `poisoned ${words}`)];
    found.push(shown(magnified(clean, stored), `change × ${magnify}`, `change of ${words}, around grey`));
    if (attack.test) {
      const test = cut(1 + attack.columns);
      found.push(shown(test, "test image", `clean test ${words}`));
      found.push(shown(changed(test, 2 + attack.columns), "with trigger", `test ${words}, with its trigger`));
    }
    pictures.replaceChildren(...found);
    far.textContent = `${value}: ${attack.far[image][step]}.`;
  }
  let latest = null;
  async function stay(done) {
    latest = done;
    await done();
    if (latest !== done) return; // somebody chose again meanwhile
    const strength = step === attack.own ? null : short(attack.values[step]);
    address.write({ attack: attack.name, image: image + 1, strength });
  }
  function restore() {
    const at = address.pick("attack", attacks.map((one) => one.name), 0);
    const number = address.pick("image", attacks[at].far.map((_, one) => one + 1), 0);
    choose(at, number, address.pick("strength", attacks[at].values.map(short), attacks[at].own));
  }
  attackBox.fill(attacks.map((one) => one.name));
  restore();
}

export default { render };
