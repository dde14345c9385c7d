// What a reader chose stands in the address of the page, and a link with it restores the choice:
// #widget-NAME&NAME.key=value&... The first part is where to scroll to. In JupyterLab the address is left alone.

const inBook = typeof DOCUMENTATION_OPTIONS !== "undefined";
const parts = () => (inBook ? location.hash.slice(1).split("&").filter(Boolean) : []);

// name: of the widget, once on a page. restore: called when the address was changed by somebody else.
function addressed(name, el, restore) {
  const anchor = `widget-${name}`;
  const lost = element("p", { class: "dl-source dl-lost", role: "status" });
  lost.hidden = true;
  el.id = anchor;
  el.append(lost);
  const mine = (part) => part.startsWith(`${name}.`);
  const read = (key) => {
    const found = parts().find((part) => part.startsWith(`${name}.${key}=`));
    return found === undefined ? null : decodeURIComponent(found.slice(found.indexOf("=") + 1));
  };
  // The place of the value among the options; what a link names and this page does not have is told.
  const pick = (key, options, otherwise) => {
    const asked = read(key);
    const at = asked === null ? -1 : options.map(String).indexOf(asked);
    if (asked !== null && at < 0) {
      lost.hidden = false;
      lost.textContent = `The link asks for “${asked}”, which this page does not have.`;
    }
    return at < 0 ? otherwise : at;
  };
  const write = (values) => {
    if (!inBook) return;
    lost.hidden = true;
    const others = parts().filter((part) => part.includes("=") && !mine(part));
    const own = Object.entries(values)
      .filter(([, value]) => value !== null && value !== undefined)
      .map(([key, value]) => `${name}.${key}=${encodeURIComponent(value)}`);
    history.replaceState(history.state, "", `#${[anchor, ...own, ...others].join("&")}`);
  };
  const arrive = () => {
    if (parts()[0] === anchor && parts().length > 1) el.scrollIntoView({ block: "start" });
  };
  if (inBook) {
    addEventListener("hashchange", () => {
      if (!parts().some(mine)) return;
      restore();
      arrive();
    });
    // Formulas and pictures above may still push the widget down.
    requestAnimationFrame(arrive);
    addEventListener("load", arrive);
    window.MathJax?.startup?.promise?.then(arrive);
  }
  return { pick, read, write };
}

// A drawing over places 0 .. n-1 that is read by pointing, touching, and with the arrow keys. place(x): the place at a
// share of the drawing's width; look: shows a place for a moment; choose: stays there.
function pointed(node, place, look, choose) {
  const at = (event) => {
    const box = node.getBoundingClientRect();
    return place((event.clientX - box.left) / box.width);
  };
  node.tabIndex = 0;
  node.classList.add("dl-pointed");
  node.addEventListener("pointermove", (event) => (event.buttons ? choose(at(event)) : look(at(event))));
  node.addEventListener("pointerdown", (event) => choose(at(event)));
  node.addEventListener("pointerleave", () => look(null));
  node.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, Home: -Infinity, End: Infinity }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    choose(null, step);
  });
}
