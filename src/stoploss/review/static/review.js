// Draws the pictures that the file itself carries; on paper they are those of a light page.
"use strict";

const drawings = JSON.parse(document.getElementById("drawings").textContent);

function draw() {
  for (const picture of drawings) drawInto(document.getElementById(`plot-${picture.key}`), picture);
}

function onPaper(printing) {
  document.documentElement.classList.toggle("paper", printing);
  draw();
}

for (const change of [matchMedia("(prefers-color-scheme: dark)"), narrow]) change.addEventListener("change", draw);
addEventListener("beforeprint", () => onPaper(true));
addEventListener("afterprint", () => onPaper(false));
draw();
