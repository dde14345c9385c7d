/* itables sorts where the small arrows of a head are pressed; readers press its words. */
document.addEventListener("click", function (event) {
  const head = event.target.closest('th[data-dt-order="icon-only"]');
  if (head && !event.target.closest(".dt-column-order")) head.querySelector(".dt-column-order").click();
});
