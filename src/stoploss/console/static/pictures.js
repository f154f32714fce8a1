// Fetches the pictures of an experiment and draws those that are open (drawing.js).
"use strict";

const home = document.getElementById("pictures-of");
const dark = matchMedia("(prefers-color-scheme: dark)");
let drawings = [];

function draw() {
  for (const picture of drawings) {
    const place = document.getElementById(`plot-${picture.key}`);
    if (!place || !place.closest("details").open) continue;
    document.getElementById(`caption-${picture.key}`).textContent = picture.caption;
    drawInto(place, picture);
  }
}

async function load() {
  const answer = await fetch(home.dataset.pictures);
  if (!answer.ok) return;
  drawings = await answer.json();
  draw();
}

for (const part of document.querySelectorAll("details.picture")) part.addEventListener("toggle", draw);
for (const change of [dark, narrow]) change.addEventListener("change", draw);
document.addEventListener("fresh", load);
load();
