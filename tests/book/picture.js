/* What can be seen in `root` beside its controls: pixels of pictures, drawings, tables, the word that there is nothing.
   null while a picture is loading. */
(root) => {
  const seen = [];
  const visible = (node) => node.checkVisibility({ visibilityProperty: true }) && node.getBoundingClientRect().width > 1;
  const pixels = (image) => {
    const canvas = document.createElement("canvas");
    canvas.width = Math.min(image.naturalWidth, 400);
    canvas.height = Math.min(image.naturalHeight, 400);
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    return canvas.toDataURL();
  };
  for (const node of root.querySelectorAll("img, svg, canvas, table, .dl-nothing")) {
    if (!visible(node)) continue;
    if (node.tagName === "IMG") {
      if (!node.complete || !node.naturalWidth) return null;
      seen.push(pixels(node));
    } else if (node.tagName === "CANVAS") seen.push(node.toDataURL());
    else if (node.tagName === "TABLE" || node.tagName === "P") seen.push(node.innerText);
    // Names that a script counts up each time it draws say nothing about the drawing.
    else seen.push(node.outerHTML.replace(/ id="[^"]*"|url\([^)]*\)/g, ""));
  }
  return seen.join("\n");
}
