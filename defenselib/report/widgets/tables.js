// A paper's table at a profile: printed, reproduced, and the difference as a number and a bar.

function render({ model, el }) {
  const { papers, profiles, marks } = model.get("data");
  let paper, table, profile;
  const paperBox = select("Paper", (at) => stay(() => choosePaper(at)));
  const tableBox = select("Table", (at) => stay(() => chooseTable(at)));
  const profileBox = select("Profile", (at) => stay(() => chooseProfile(at)));
  const phone = matchMedia("(max-width: 600px)"); // there each row is a card of its own, see narrow.css of the book
  phone.addEventListener("change", () => show());
  const only = element("input", { type: "checkbox" });
  only.checked = true;
  only.addEventListener("change", () => stay(show));
  const onlyBox = element("label", { class: "dl-control" }, only, "only rows that were run");
  const said = element("p", { class: "dl-source", "aria-live": "polite" });
  const place = element("div", { class: "dl-scroll", tabindex: 0, role: "region", "aria-label": "the chosen table" });
  el.classList.add("dl-widget");
  const boxes = [paperBox.node, tableBox.node, profileBox.node, onlyBox];
  el.append(element("div", { class: "dl-controls" }, ...boxes), said, place);

  const address = addressed(model.get("name"), el, restore);
  // What a reader did, after which the address says it.
  function stay(done) {
    done();
    address.write({ paper: paper.name, table: table.name, profile, all: only.checked ? null : "yes" });
  }
  function restore() {
    only.checked = address.read("all") === null;
    const at = address.pick("paper", papers.map((one) => one.name), 0);
    paperBox.box.selectedIndex = at;
    choosePaper(at);
    const place = address.pick("table", paper.tables.map((one) => one.name), tableBox.box.selectedIndex);
    tableBox.box.selectedIndex = place;
    chooseTable(place);
    chooseProfile(address.pick("profile", profiles, profiles.indexOf(profile)));
  }
  function chooseProfile(at) {
    profile = profiles[at];
    profileBox.box.selectedIndex = at;
    show();
  }
  const count = (one, level = profile) => Object.keys(one.found[level] ?? {}).length;
  function choosePaper(at) {
    paper = papers[at];
    tableBox.fill(paper.tables.map((one) => one.name));
    const first = Math.max(0, paper.tables.findIndex((one) => profiles.some((level) => count(one, level) > 0)));
    tableBox.box.selectedIndex = first;
    chooseTable(first);
  }
  // The profile that tells most about a table is chosen with it; better evidence of two cells would hide that of thirty.
  function chooseTable(at) {
    table = paper.tables[at];
    const counts = profiles.map((level) => count(table, level));
    const most = Math.max(0, counts.indexOf(Math.max(...counts)));
    chooseProfile(most);
  }
  function show() {
    const found = table.found[profile] ?? {};
    const rows = table.rows.map((row, at) => [row, found[at]]).filter(([, there]) => there || !only.checked);
    const left = profile === undefined ? "No profile has results." : `${count(table)} of ${table.rows.length} numbers were run at profile ${profile}.`;
    said.textContent = `${paper.title}. ${table.title}. ${left} ${table.foot[profile] ?? ""}`;
    const largest = Math.max(1, ...rows.map(([row, there]) => Math.abs(difference(row, there) ?? 0)));
    // What is the same in all rows stands in the caption and takes no column.
    const same = table.columns.map((_, at) => rows.length > 1 && rows.every(([row]) => row[at] === rows[0][0][at]));
    const fixed = table.columns.map((name, at) => (same[at] && rows[0][0][at] ? `${name} ${rows[0][0][at]}` : "")).filter(Boolean);
    const words = table.columns.filter((_, at) => !same[at]).map((name) => element("th", { scope: "col", class: "dl-word" }, name));
    const heads = ["printed", "reproduced", "verdict", "difference"].map((name) => element("th", { scope: "col" }, name));
    const head = element("tr", {}, ...words, ...heads, element("th", { scope: "col", class: "dl-bar" }, "as a bar"));
    const body = rows.map(([row, there]) => line(row, there, largest, same));
    const caption = element("caption", {}, [`${paper.name}, ${table.name}`, ...fixed].join("; "));
    place.replaceChildren(
      rows.length
        ? element("table", { class: phone.matches ? "dataframe stacked" : "dataframe" }, caption, element("thead", {}, head), element("tbody", {}, ...body))
        : element("p", { class: "dl-nothing" }, "None of its numbers was run; untick the box to see what is printed."),
    );
  }
  function difference(row, there) {
    const printed = row.at(-1);
    return there && typeof printed === "number" ? there[0] - printed : null;
  }
  function line(row, there, largest, same) {
    const cells = row.slice(0, -1).filter((_, at) => !same[at]).map((text) => element("td", { class: "dl-word" }, text));
    const printed = row.at(-1);
    cells.push(element("td", {}, printed === null ? "–" : String(printed)));
    const spread = there && there[1] !== null && there[2] > 1 ? ` ± ${there[1]}` : "";
    cells.push(element("td", {}, there ? `${there[0]}${spread}` : "–"));
    const verdict = there ? there[3] : "not run";
    cells.push(element("td", {}, element("span", { class: `verdict verdict-${verdict.replace(" ", "-")}` }, marks[verdict])));
    const apart = difference(row, there);
    cells.push(element("td", {}, apart === null ? "–" : `${apart > 0 ? "+" : ""}${short(apart)}`));
    cells.push(element("td", { class: "dl-bar" }, ...(apart === null ? [] : [bar(apart / largest)])));
    const names = [...table.columns.filter((_, at) => !same[at]), "printed", "reproduced", "verdict", "difference", ""];
    cells.forEach((cell, at) => { cell.dataset.head = names[at]; });
    return element("tr", {}, ...cells);
  }
  function bar(share) {
    const width = 50 * Math.abs(share);
    const side = share < 0 ? 50 - width : 50;
    return element("span", { class: "dl-difference", "aria-hidden": "true", style: `margin-left:${side}%;width:${width}%` });
  }
  paperBox.fill(papers.map((one) => one.name));
  profileBox.fill(profiles);
  restore();
}

export default { render };
