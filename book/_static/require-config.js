/* Widgets look for what is not in their own bundle on a public server. Here they look among the fetched files.
   Loaded between require.js and embed-amd.js, and only where those come from the book itself. */
(function () {
  const script = document.currentScript;
  const vendor = new URL("vendor/", script.src).href;
  window.require.config({ baseUrl: vendor });
  script.setAttribute("data-jupyter-widgets-cdn", vendor);
})();
