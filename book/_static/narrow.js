/* Tables on a phone: what is wider than its box stands row by row below one another, each number under the head of its
   column; what has to scroll all the same says so. Nothing of it happens where a table fits. */
(function () {
  const phone = matchMedia("(max-width: 600px)");
  const roles = { TABLE: "table", THEAD: "rowgroup", TBODY: "rowgroup", TR: "row", TD: "cell", TH: "rowheader" };

  /* The words above each column, a group's before its own. */
  function heads(table) {
    const places = [];
    [...table.tHead.rows].forEach((row, down) => {
      let across = 0;
      for (const cell of row.cells) {
        while (places[down] && places[down][across]) across += 1;
        for (let y = 0; y < cell.rowSpan; y += 1)
          for (let x = 0; x < cell.colSpan; x += 1) (places[down + y] ||= [])[across + x] = cell;
        across += cell.colSpan;
      }
    });
    return places[places.length - 1].map((_, across) =>
      [...new Set(places.map((row) => row[across]))].map((cell) => cell.textContent.trim()).join(" ").trim());
  }

  function stack(table) {
    if (!table.dataset.heads) {
      const names = heads(table);
      for (const row of table.tBodies[0].rows)
        if (row.cells.length === names.length) [...row.cells].forEach((cell, place) => { cell.dataset.head = names[place]; });
      for (const part of [table, ...table.querySelectorAll("thead, tbody, tr, td, tbody th")]) part.setAttribute("role", roles[part.tagName]);
      for (const head of table.tHead.querySelectorAll("th")) head.setAttribute("role", "columnheader");
      table.dataset.heads = "yes";
    }
    table.classList.add("stacked");
  }

  function look(box) {
    const scroller = box.querySelector(".dt-layout-table > .dt-layout-cell") || box; // a sortable table brings a box of its own
    const table = box.querySelector("table.dataframe");
    const wide = () => scroller.scrollWidth > scroller.clientWidth + 1;
    if (table && table.tHead && !box.matches(".matrix, .sortable")) {
      if (!phone.matches) table.classList.remove("stacked");
      else if (wide()) stack(table);
    }
    box.toggleAttribute("data-scrolls", wide());
  }

  /* Seen again whenever a box changes its size: a fold opens, a tab is chosen, the window turns. */
  const watch = new ResizeObserver((seen) => { for (const one of seen) look(one.target); });
  const start = () => { for (const box of document.querySelectorAll(".results, .sortable")) watch.observe(box); };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
