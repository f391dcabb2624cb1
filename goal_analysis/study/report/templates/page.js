"use strict";

const PAPER = 680; // pixels that fit between the margins of A4 and of Letter
const charts = [];

/** Panels beside each other as the width allows, and below them as much room as the legend takes. */
async function arrange(chart, paper) {
  const width = paper || chart.parentElement.clientWidth;
  const { layout } = chart.spec.places.find(({ least }) => least <= width);
  await Plotly.relayout(chart, { ...layout, width });
  const legend = chart.querySelector(".legend"), below = legend ? Math.ceil(legend.getBoundingClientRect().height) : 0;
  if (below) await Plotly.relayout(chart, { height: layout.height + below, "margin.b": layout["margin.b"] + below });
}

async function loadPlotly() {
  const packed = Uint8Array.from(atob(document.getElementById("plotly").textContent), (c) => c.charCodeAt(0));
  const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  document.head.append(element("script", { textContent: await new Response(unpacked).text() }));
}

async function draw() {
  await loadPlotly();
  for (const chart of document.querySelectorAll(".chart")) {
    chart.spec = JSON.parse(chart.nextElementSibling.textContent);
    const buttons = { displaylogo: false, modeBarButtons: [["toImage"]] };
    await Plotly.newPlot(chart, chart.spec.data, chart.spec.layout, buttons);
    await arrange(chart);
    if (chart.spec.live) await control(chart);
    charts.push(chart);
  }
  document.documentElement.dataset.drawn = "all";
}

let width = innerWidth;
addEventListener("resize", () => {
  if (innerWidth !== width) charts.forEach((chart) => arrange(chart));
  width = innerWidth;
});

const opened = [];
addEventListener("beforeprint", () => {
  for (const closed of document.querySelectorAll("details:not([open])")) {
    closed.open = true;
    opened.push(closed);
  }
  charts.forEach((chart) => arrange(chart, PAPER));
});
addEventListener("afterprint", () => {
  opened.splice(0).forEach((details) => (details.open = false));
  charts.forEach((chart) => arrange(chart));
});

const toggle = document.getElementById("theme");
toggle.hidden = false;
toggle.addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});

draw();
