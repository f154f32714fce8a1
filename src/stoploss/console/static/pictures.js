// Draws the pictures of an experiment with plotly, in the colours of the page.
"use strict";

const home = document.getElementById("pictures-of");
const dark = matchMedia("(prefers-color-scheme: dark)");
const narrow = matchMedia("(max-width: 46rem)");
let drawings = [];

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
// Plotly takes a time without a zone as it stands, so the viewer's own is written out.
const local = (at) => {
  const moment = new Date(at);
  return new Date(moment - moment.getTimezoneOffset() * 60000).toISOString().slice(0, -1);
};
const dashes = ["solid", "dot", "dash", "dashdot"];

function scaled(picture, values) {
  return picture.is_share ? values.map((value) => (value === null ? null : 100 * value)) : values;
}

function tracesOf(picture) {
  const traces = [];
  picture.lines.forEach((line, index) => {
    const x = line.at.map(local);
    const hue = colour({ control: "control", limit: "limit" }[line.role] || "treatment");
    if (line.lower.length) {
      const edge = { type: "scatter", x, mode: "lines", line: { width: 0 }, hoverinfo: "skip", showlegend: false };
      traces.push({ ...edge, y: scaled(picture, line.lower) });
      traces.push({ ...edge, y: scaled(picture, line.upper), fill: "tonexty", fillcolor: colour("band") });
    }
    traces.push({
      type: "scatter", mode: line.at.length < 3 ? "lines+markers" : "lines", name: line.name, x, y: scaled(picture, line.values),
      line: { color: hue, width: 2, dash: line.role === "limit" ? "dash" : line.role === "burn" ? dashes[index % 4] : "solid" },
      hovertemplate: `%{y:.4~g} ${picture.unit}<extra>${line.name.replaceAll("<", "&lt;")}</extra>`,
    });
  });
  return traces;
}

function layoutOf(picture) {
  const ink = colour("ink"), rule = colour("rule");
  const marks = picture.marks.map((mark) => ({ ...mark, x: local(mark.at), hue: colour(mark.role === "command" ? "limit" : "soft") }));
  return {
    autosize: true, height: 300, hovermode: "x unified", paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: narrow.matches ? 46 : 64, r: 12, t: 34, b: 36 }, font: { color: ink, family: "system-ui, sans-serif", size: 12 },
    hoverlabel: { bgcolor: colour("card"), bordercolor: rule, font: { color: ink } },
    xaxis: { gridcolor: rule, linecolor: rule, type: "date", nticks: narrow.matches ? 4 : 8 },
    yaxis: { gridcolor: rule, zerolinecolor: colour("soft"), title: { text: picture.unit, standoff: 4 }, automargin: false },
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 1, xanchor: "right" },
    shapes: marks.map((mark) => ({
      type: "line", x0: mark.x, x1: mark.x, yref: "paper", y0: 0, y1: 1,
      line: { color: mark.hue, width: mark.role === "command" ? 2 : 1, dash: mark.role === "command" ? "solid" : "dot" },
    })),
    annotations: marks.filter((mark) => mark.role === "command").map((mark) => ({
      x: mark.x, yref: "paper", y: 1, text: mark.text, showarrow: false, xanchor: "right", yanchor: "top", xshift: -4,
      font: { color: mark.hue },
    })),
  };
}

function draw() {
  for (const picture of drawings) {
    const place = document.getElementById(`plot-${picture.key}`);
    if (!place || !place.closest("details").open) continue;
    document.getElementById(`caption-${picture.key}`).textContent = picture.caption;
    if (!place.firstChild) place.append(document.createElement("div"));
    Plotly.react(place.firstChild, tracesOf(picture), layoutOf(picture), { displayModeBar: false, responsive: true });
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
