/* Hover texts for everybody: what a mouse shows, the keyboard's focus shows as well, and a tap. A first tap on a link with
   such a text shows it, the second follows the link. Escape closes it. A table is one stop of the tabulator; from there the
   arrow keys go through its cells that have a text. A mark, whose text is its own name, is no stop at all. */
(function () {
  const ANY = "article :is(a[href*='#term-'], abbr, th, td, span, dt, dd, button)[title], article [data-tip]";
  let box, shown, waiting;

  function text(node) {
    if (node.title) {
      node.dataset.tip = node.title; // else the browser shows it a second time
      node.removeAttribute("title");
    }
    return node.dataset.tip;
  }

  function show(node) {
    clearTimeout(waiting);
    if (shown === node) return;
    hide();
    box.textContent = text(node);
    box.hidden = false;
    shown = node;
    node.setAttribute("aria-describedby", "book-tip");
    const place = node.getClientRects()[0] || node.getBoundingClientRect();
    const left = Math.max(8, Math.min(place.left, innerWidth - box.offsetWidth - 8));
    const below = place.bottom + box.offsetHeight + 8 < innerHeight || place.top < box.offsetHeight + 8;
    box.style.left = `${left + scrollX}px`;
    box.style.top = `${(below ? place.bottom + 4 : place.top - box.offsetHeight - 4) + scrollY}px`;
  }

  function hide() {
    clearTimeout(waiting);
    if (shown) shown.removeAttribute("aria-describedby");
    shown = null;
    box.hidden = true;
  }

  // Later, so that the pointer can move onto the text.
  function soon() {
    clearTimeout(waiting);
    waiting = setTimeout(hide, 250);
  }

  // The cells of a table that have a text: the first can be reached, the arrows lead to the others.
  function rove(table) {
    const cells = [...table.querySelectorAll(":is(th, td)[data-tip]")];
    cells.forEach((cell, place) => (cell.tabIndex = place ? -1 : 0));
    table.addEventListener("keydown", (event) => {
      const at = cells.indexOf(event.target);
      if (at < 0) return;
      const up = { ArrowUp: -1, ArrowDown: 1 }[event.key];
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      const row = (cell) => cell.parentElement.rowIndex;
      const beyond = (cell) => cell.cellIndex === event.target.cellIndex && up * (row(cell) - row(event.target)) > 0;
      const below = up > 0 ? cells.find(beyond) : cells.findLast(beyond);
      const next = step ? cells[at + step] : up ? below : null;
      if (!next) return;
      event.preventDefault();
      event.target.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    });
  }

  const of = (event) => (event.target.closest ? event.target.closest(ANY) : null);

  document.addEventListener("DOMContentLoaded", () => {
    box = document.createElement("div");
    Object.assign(box, { id: "book-tip", className: "book-tip", hidden: true });
    box.setAttribute("role", "tooltip");
    box.addEventListener("pointerenter", () => clearTimeout(waiting));
    box.addEventListener("pointerleave", soon);
    document.body.append(box);
    for (const node of document.querySelectorAll(ANY)) {
      text(node);
      node.classList.add("has-tip");
      if (!node.matches("a[href], button, [tabindex], th, td, .mark")) node.tabIndex = 0;
    }
    const cells = [...document.querySelectorAll("article :is(th, td)[data-tip]")];
    new Set(cells.map((cell) => cell.closest("table"))).forEach(rove);
    document.addEventListener("pointerover", (event) => {
      if (event.pointerType === "touch") return;
      const node = of(event);
      if (node) show(node);
      else if (shown && !box.contains(event.target)) soon();
    });
    document.addEventListener("focusin", (event) => {
      const node = of(event);
      if (node && node.matches(":focus-visible")) show(node);
      else if (!node) hide();
    });
    document.addEventListener("focusout", soon);
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && shown) hide();
    });
    document.addEventListener("click", (event) => {
      if (event.pointerType !== "touch") return;
      const node = of(event);
      if (!node) {
        if (!box.contains(event.target)) hide();
        return;
      }
      if (shown === node) return; // the second tap
      event.preventDefault();
      show(node);
    });
  });
})();
