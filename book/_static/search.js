/* An excerpt below every hit. Sphinx fetches each page again for that, which a browser refuses to a page opened from disk;
   here the texts of all pages come in one script, which the search page alone loads. */
(function () {
  const LENGTH = 260;
  DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

  const simple = (text) => text.toLowerCase().replace(/[‐-―]/g, "-");

  // Where the words of the query stand closest together; the phrase itself before all.
  function place(text, words) {
    const low = simple(text);
    const phrase = low.indexOf(words.join(" "));
    if (phrase >= 0) return phrase;
    let best = [-1, 0];
    for (const word of words) {
      let at = low.indexOf(word);
      for (let seen = 0; at >= 0 && seen < 200; seen += 1) {
        const near = low.slice(at, at + LENGTH / 2);
        const count = words.filter((other) => near.includes(other)).length;
        if (count > best[1]) best = [at, count];
        at = low.indexOf(word, at + 1);
      }
    }
    return best[0];
  }

  function excerpt(text, words) {
    const stems = words.map((word) => (word.length > 6 ? word.slice(0, -2) : word));
    const found = Math.max(place(text, words), words.every((word) => !simple(text).includes(word)) ? place(text, stems) : -1);
    const start = found < 0 ? 0 : Math.max(0, text.lastIndexOf(" ", Math.max(0, found - 90)) + 1);
    const cut = text.slice(start, start + LENGTH);
    const shown = document.createElement("p");
    shown.className = "search-excerpt";
    shown.append(start > 0 ? "… " : "");
    let rest = cut;
    const pattern = new RegExp(`(${[...words, ...stems].map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("|")})`, "i");
    for (let part = pattern.exec(rest); part; part = pattern.exec(rest)) {
      const mark = document.createElement("mark");
      mark.textContent = part[0];
      shown.append(rest.slice(0, part.index), mark);
      rest = rest.slice(part.index + part[0].length);
    }
    shown.append(rest, start + LENGTH < text.length ? " …" : "");
    return shown;
  }

  function watch(results) {
    const asked = new URLSearchParams(location.search).get("q") || "";
    const words = simple(asked).split(/[\s"']+/).filter(Boolean);
    if (!words.length) return;
    const add = () => {
      if (!window.PAGE_TEXTS) return;
      for (const hit of results.querySelectorAll("li:not([data-told])")) {
        hit.dataset.told = "";
        const link = hit.querySelector("a");
        const name = link ? link.getAttribute("href").split(/[?#]/)[0].replace(/\.html$/, "") : "";
        const text = window.PAGE_TEXTS[name];
        const term = link && link.hash.startsWith("#term-") ? decodeURIComponent(link.hash.slice(6)).replaceAll("-", " ") : "";
        if (term) link.append(`: ${term}`);
        if (text) hit.append(excerpt(text, term ? simple(term).split(" ") : words));
      }
    };
    new MutationObserver(add).observe(results, { childList: true, subtree: true });
    const script = document.createElement("script");
    script.src = `${document.documentElement.dataset.content_root}_static/search-texts.js`;
    script.addEventListener("load", add);
    document.head.append(script);
  }

  document.addEventListener("DOMContentLoaded", () => {
    const results = document.getElementById("search-results");
    if (results) watch(results);
  });
})();
