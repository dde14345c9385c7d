/* Paper is white and has nothing to unfold. What is changed for the printer is changed back afterwards. */
(function () {
  const page = document.documentElement;
  let theme = null;
  let unfolded = [];

  window.addEventListener("beforeprint", function () {
    theme = page.dataset.theme;
    page.dataset.theme = "light";
    unfolded = [...document.querySelectorAll("details.sd-dropdown:not([open])")];
    unfolded.forEach((details) => (details.open = true));
  });
  window.addEventListener("afterprint", function () {
    page.dataset.theme = theme;
    unfolded.forEach((details) => (details.open = false));
  });
})();
