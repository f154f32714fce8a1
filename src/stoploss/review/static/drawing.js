// Draws the pictures of an experiment with plotly, in the colours of the page: on the console and in a review's file.
"use strict";

const narrow = matchMedia("(max-width: 46rem)");
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
// Plotly takes a time without a zone as it stands, so the viewer's own is written out.
const local = (at) => {
  const moment = new Date(at);
  return new Date(moment - moment.getTimezoneOffset() * 60000).toISOString().slice(0, -1);
};
const dashes = ["solid", "dot", "dash", "dashdot"];
const percent = (picture, value) => (value === null ? null : picture.is_share ? 100 * value : value);
const scaled = (picture, values) => values.map((value) => percent(picture, value));
const safe = (text) => text.replaceAll("<", "&lt;");

function overTime(picture) {
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
      line: {
        color: hue, width: 2, shape: line.role === "exposure" ? "hv" : "linear",
        dash: line.role === "limit" ? "dash" : line.role === "burn" ? dashes[index % 4] : line.role === "control" ? "dot" : "solid",
      },
      hovertemplate: `%{y:.4~g} ${picture.unit}<extra>${safe(line.name)}</extra>`,
    });
  });
  return traces;
}

function frame() {
  const ink = colour("ink"), rule = colour("rule");
  return {
    autosize: true, height: 300, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: narrow.matches ? 46 : 64, r: 12, t: 34, b: 36 }, font: { color: ink, family: "system-ui, sans-serif", size: 12 },
    hoverlabel: { bgcolor: colour("card"), bordercolor: rule, font: { color: ink } },
    xaxis: { gridcolor: rule, linecolor: rule },
    yaxis: { gridcolor: rule, zerolinecolor: colour("soft"), automargin: false },
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 1, xanchor: "right" },
  };
}

function ofTime(picture) {
  const layout = frame();
  const marks = picture.marks.map((mark) => ({ ...mark, x: local(mark.at), hue: colour(mark.role === "command" ? "limit" : "soft") }));
  Object.assign(layout.xaxis, { type: "date", nticks: narrow.matches ? 4 : 8 });
  Object.assign(layout.yaxis, { title: { text: picture.unit, standoff: 4 } });
  const below = picture.lines.some((line) => [...line.values, ...line.lower].some((value) => value < 0));
  layout.yaxis.rangemode = picture.key === "exposure" ? "tozero" : below ? "normal" : "nonnegative";
  return {
    ...layout, hovermode: "x unified",
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

// A limit that does not exist is drawn to the edge of what is shown.
function forestTraces(picture) {
  const hues = { breach: "limit", safe: "good" }, symbols = { breach: "x", safe: "diamond" };
  const ends = picture.rows.flatMap((row) => [row.estimate, row.lower, row.upper]).filter((end) => end !== null);
  const low = Math.min(...ends, picture.edge), high = Math.max(...ends, picture.edge);
  const at = (value) => percent(picture, value);
  return [{
    type: "scatter", mode: "markers", showlegend: false, y: picture.rows.map((row) => safe(row.label)),
    x: picture.rows.map((row) => at(row.estimate)), text: picture.rows.map((row) => safe(`${row.verdict}: ${row.text}`)),
    hovertemplate: "%{text}<extra></extra>",
    marker: {
      size: 10, color: picture.rows.map((row) => colour(hues[row.verdict] || "treatment")),
      symbol: picture.rows.map((row) => symbols[row.verdict] || "circle"),
    },
    error_x: {
      type: "data", symmetric: false, color: colour("soft"), thickness: 1.5, width: 4,
      array: picture.rows.map((row) => (row.estimate === null ? 0 : at((row.upper ?? high) - row.estimate))),
      arrayminus: picture.rows.map((row) => (row.estimate === null ? 0 : at(row.estimate - (row.lower ?? low)))),
    },
  }];
}

function ofForest(picture) {
  const layout = frame(), edge = percent(picture, picture.edge);
  Object.assign(layout, { height: 90 + 26 * picture.rows.length, hovermode: "closest" });
  layout.margin.l = narrow.matches ? 110 : 180;
  Object.assign(layout.xaxis, { title: { text: picture.unit }, zeroline: true, zerolinecolor: colour("soft") });
  Object.assign(layout.yaxis, { autorange: "reversed", type: "category" });
  const line = { type: "line", yref: "paper", y0: 0, y1: 1, x0: edge, x1: edge, line: { color: colour("limit"), width: 2, dash: "dash" } };
  return { ...layout, shapes: [line], annotations: [{ x: edge, yref: "paper", y: 1, yanchor: "bottom", text: "margin", showarrow: false, font: { color: colour("limit") } }] };
}

function curveTraces(picture) {
  return [{
    type: "scatter", mode: "lines", name: "worth of B", x: picture.x, y: picture.y.map((value) => 100 * value),
    line: { color: colour("treatment"), width: 2 }, hovertemplate: "%{y:.3~g} % at %{x:.3~g}<extra></extra>", showlegend: false,
  }];
}

function ofCurve(picture) {
  const layout = frame();
  Object.assign(layout.xaxis, { title: { text: picture.name } });
  Object.assign(layout.yaxis, { title: { text: "% of A's quality", standoff: 4 }, zeroline: true });
  const shapes = [{ type: "line", x0: picture.at, x1: picture.at, yref: "paper", y0: 0, y1: 1, line: { color: colour("limit"), width: 2, dash: "dash" } }];
  if (picture.flips) shapes.push({ type: "rect", x0: picture.flips[0], x1: picture.flips[1], yref: "paper", y0: 0, y1: 1, fillcolor: colour("band"), line: { width: 0 } });
  return { ...layout, shapes, annotations: [{ x: picture.at, yref: "paper", y: 1, yanchor: "bottom", text: "as in the spec", showarrow: false, font: { color: colour("limit") } }] };
}

const kinds = { time: [overTime, ofTime], forest: [forestTraces, ofForest], curve: [curveTraces, ofCurve] };

function drawInto(place, picture) {
  const [tracesOf, layoutOf] = kinds[picture.kind];
  if (!place.firstChild) place.append(document.createElement("div"));
  Plotly.react(place.firstChild, tracesOf(picture), layoutOf(picture), { displayModeBar: false, responsive: true });
}
