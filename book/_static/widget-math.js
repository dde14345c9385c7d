/* Widgets typeset their texts with the call of MathJax 2, and fail where they find MathJax 3: this translates it. */
document.addEventListener("DOMContentLoaded", function () {
  const math = window.MathJax;
  if (!math || !math.startup) return;
  let done = math.startup.promise;
  math.Hub = {
    Queue: function (task) {
      const element = task[2];
      if (!/\\\(|\\\[|\$/.test(element.textContent)) return;
      element.classList.add("mathjax_process");
      done = done.then(() => math.typesetPromise([element]));
    },
  };
});
