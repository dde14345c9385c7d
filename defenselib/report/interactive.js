function () {
  const api = this.api(), foot = api.table().footer();
  if (!foot.dataset.numbers) {
    foot.dataset.numbers = "yes";
    const signs = { "<": (a, b) => a < b, "<=": (a, b) => a <= b, ">": (a, b) => a > b, ">=": (a, b) => a >= b };
    const typed = (event) => {
      const cell = event.target.closest("[data-dt-column]");
      if (!cell) { return; }
      const column = api.column(Number(cell.dataset.dtColumn));
      const said = /^\s*([<>]=?)\s*(-?\d*\.?\d*)\s*$/.exec(event.target.value);
      if (!said) { if (column.search.fixed("number")) { column.search.fixed("number", null).draw(); } return; }
      event.stopPropagation();
      const bound = parseFloat(said[2]);
      const rule = isNaN(bound) ? null : (text) => signs[said[1]](parseFloat(text), bound);
      column.search("").search.fixed("number", rule).draw();
    };
    for (const kind of ["keyup", "change", "input"]) { foot.addEventListener(kind, typed, true); }
  }
  for (const head of this.api().table().header().querySelectorAll("th")) {
    const found = ["asc", "desc"].find((way) => head.classList.contains("dt-ordering-" + way));
    if (found) { head.setAttribute("aria-sort", found + "ending"); } else { head.removeAttribute("aria-sort"); }
  }
}
