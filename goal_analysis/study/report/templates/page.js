"use strict";

const PAPER = 680; // pixels that fit between the margins of A4 and of Letter
const charts = [];

function arrange(chart, paper) {
  const width = paper || chart.parentElement.clientWidth;
  const { wide, narrow } = chart.spec;
  return Plotly.relayout(chart, { ...(width < PAPER ? narrow : wide), width });
}

// Plotly's sliders follow the mouse; this lets them follow the arrow keys, and says their values to readers of screens.
function nameSliders(chart) {
  chart.querySelectorAll(".slider-group").forEach((group, number) => {
    const slider = chart.layout.sliders[number];
    const step = slider.steps[slider.active];
    group.setAttribute("role", "slider");
    group.setAttribute("tabindex", "0");
    group.setAttribute("aria-label", slider.currentvalue.prefix.replace(" = ", ""));
    group.setAttribute("aria-valuemin", slider.steps[0].label);
    group.setAttribute("aria-valuemax", slider.steps.at(-1).label);
    group.setAttribute("aria-valuenow", step.label);
    group.onkeydown = (event) => {
      const by = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, Home: -Infinity, End: Infinity }[event.key];
      if (by === undefined) return;
      event.preventDefault();
      const place = Math.min(Math.max(slider.active + by, 0), slider.steps.length - 1);
      Plotly.update(chart, ...slider.steps[place].args);
    };
  });
}

async function draw() {
  for (const chart of document.querySelectorAll(".chart")) {
    chart.spec = JSON.parse(chart.nextElementSibling.textContent);
    const buttons = { displaylogo: false, modeBarButtons: [["toImage"]] };
    await Plotly.newPlot(chart, chart.spec.data, chart.spec.layout, buttons);
    await arrange(chart);
    nameSliders(chart);
    chart.on("plotly_afterplot", () => nameSliders(chart));
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
