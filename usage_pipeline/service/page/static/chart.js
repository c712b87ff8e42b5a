// Spend, tokens or requests over time as stacked bars, drawn by Plotly, and the same as a table.

import { byId, el, exact, fill, select } from "./dom.js";
import { allDays, dayWords, weekday } from "./days.js";
import { MEASURES, labelOf, shown, whole } from "./figures.js";
import { short } from "./numbers.js";
import { DIMENSIONS, STACKS } from "./state.js";
import { REST, amountOf, dayTotals } from "./series.js";

export const COLOURS_MAX = 8;
const TABLE_DAYS_MAX = 92;

let plotly = null;
let drawn = null; // what is on the screen, to draw it anew in other colours

function loadPlotly() {
  plotly ??= new Promise((resolve, reject) => {
    const script = el("script", { src: document.body.dataset.plotly });
    script.addEventListener("load", () => resolve(window.Plotly));
    script.addEventListener("error", () => {
      plotly = null;
      script.remove();
      reject(new Error("The chart's program could not be loaded. Load the page again; the table has the same figures."));
    });
    document.head.append(script);
  });
  return plotly;
}

const labelOfStack = (dimension, value) => (value === REST ? "everything else" : labelOf(dimension, value));

export function frame(state, change) {
  const stacks = STACKS.filter((name) => name !== "class").map((name) => [name, DIMENSIONS[name]]);
  if (state.measure === "tokens" || state.by === "class") stacks.push(["class", "Token class"]);
  if (!byId("plot")) fill(byId("chart"), ...body());
  const measured = (measure) => change({ measure, by: state.by === "class" && measure !== "tokens" ? "model" : state.by });
  fill(
    byId("chart-head"),
    el("h2", { id: "chart-title" }, `${MEASURES[state.measure].split(":")[0]} over time`),
    el(
      "span",
      { class: "choices" },
      select("Measure", Object.entries(MEASURES), state.measure, measured),
      el("span", { class: "quiet" }, "by"),
      select("Stacked by", stacks, state.by, (by) => change({ by, measure: by === "class" ? "tokens" : state.measure })),
    ),
  );
}

// What stays while other figures are asked for.
function body() {
  const table = el("details", { id: "plot-table" }, el("summary", {}, "The same as a table"), el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Figures by day" }));
  table.addEventListener("toggle", () => table.open && fillTable());
  return [
    el("div", { id: "chart-head", class: "card-head" }),
    el("div", { id: "plot", class: "plot", role: "img", "aria-label": "Bars by day. The table below has the same figures." }),
    el("p", { id: "plot-note", class: "note" }),
    table,
  ];
}

export function showChart(told, drill) {
  drawn = { ...told, days: allDays(...told.range), drill };
  note();
  if (byId("plot-table").open) fillTable();
  return draw();
}

export function drawAgain() {
  return drawn && byId("plot") ? draw() : null;
}

function note() {
  const place = byId("plot-note");
  const { stacks, days } = drawn;
  const drill = "Choose a bar to see the rows behind it.";
  if (stacks.some((stack) => stack.provisional.some((amount) => amount !== null))) {
    fill(place, el("span", { class: "swatch hatched", "aria-hidden": "true" }), ` Hatched: provisional, may still change; it stays so where only Hermes tells it. ${drill}`);
  } else {
    fill(place, days.some((_, n) => dayTotals(stacks, days)[n] !== null) ? `Every figure here is final. ${drill}` : "Nothing to draw.");
  }
}

function fillTable() {
  const { stacks, dimension, measure, days, drill } = drawn;
  const totals = dayTotals(stacks, days);
  const listed = days.map((day, n) => [day, n]).filter(([, n]) => totals[n] !== null).reverse();
  const cell = (stack, day, n) => {
    const amount = amountOf(stack, n);
    if (amount === null) return el("td", { class: "num" }, "–");
    const open = stack.provisional[n] !== null;
    const label = `Rows of ${dayWords(day)}, ${labelOfStack(dimension, stack.value)}: ${shown(amount, measure)}${open ? ", provisional" : ""}`;
    const value = exact(shown(amount, measure), whole(amount, measure), open ? "provisional" : "");
    return el("td", { class: "num" }, el("button", { type: "button", class: "link", "aria-label": label, onclick: () => drill(day, stack.value) }, value));
  };
  const rows = listed.slice(0, TABLE_DAYS_MAX).map(([day, n]) =>
    el(
      "tr",
      {},
      el("th", { scope: "row" }, `${weekday(day)} ${dayWords(day)}`),
      el("td", { class: "num strong" }, exact(shown(totals[n], measure), whole(totals[n], measure))),
      stacks.map((stack) => cell(stack, day, n)),
    ),
  );
  const names = stacks.map((stack) => el("th", { scope: "col", class: "num" }, labelOfStack(dimension, stack.value)));
  fill(
    byId("plot-table").querySelector(".scroll"),
    el("table", {}, el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Day"), el("th", { scope: "col", class: "num" }, "All"), names)), el("tbody", {}, rows)),
    el("p", { class: "note" }, "Underlined with dots: provisional.", listed.length > TABLE_DAYS_MAX ? ` The newest ${TABLE_DAYS_MAX} of ${listed.length} days; choose fewer days to see the others.` : null),
  );
}

// Plotly reads a few tags in texts; what providers write shall be none. (<b> would need a style of its own.)
const plain = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

async function draw() {
  const { stacks, dimension, measure, days, drill } = drawn;
  const place = byId("plot");
  let library;
  try {
    library = await loadPlotly();
  } catch (error) {
    fill(place, el("p", { class: "empty" }, error.message));
    return;
  }
  if (place !== byId("plot") || drawn.stacks !== stacks) return; // something newer is there
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const totals = dayTotals(stacks, days);
  const places = stacks.flatMap((_, k) => [k, k]); // the stack of each trace: its final part, its provisional one
  const traces = stacks.flatMap((stack, k) => {
    const own = stack.value === REST ? colour("--series-rest") : colour(`--series-${k + 1}`);
    const name = labelOfStack(dimension, stack.value);
    const trace = (part, pattern) => ({
      type: "bar",
      name: plain(name),
      x: days,
      y: stack[part].map((amount) => (amount === null ? null : amount.approximate())),
      hovertext: days.map((day, n) => hover(name, day, stack, n, totals[n], measure)),
      hoverinfo: "text",
      marker: { color: own, line: { width: 0 }, pattern },
    });
    return [trace("final", {}), trace("provisional", { shape: "/", fillmode: "replace", fgcolor: own, bgcolor: colour("--card"), size: 5, solidity: 0.55 })];
  });
  const most = Math.max(0, ...totals.map((total) => total?.approximate() ?? 0));
  const least = Math.min(0, ...totals.map((total) => total?.approximate() ?? 0));
  const [ticks, top] = niceTicks(most);
  const step = Math.ceil(days.length / Math.max(2, Math.floor(place.clientWidth / 72)));
  const labelled = days.map((_, n) => n).filter((n) => (days.length - 1 - n) % step === 0);
  const layout = {
    barmode: "relative",
    bargap: days.length > 60 ? 0.05 : 0.22,
    showlegend: false,
    height: place.clientWidth < 500 ? 230 : 310,
    margin: { l: 8, r: 22, t: 8, b: 28 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: style.getPropertyValue("--font"), size: 12, color: colour("--quiet") },
    hovermode: "closest",
    hoverlabel: { bgcolor: colour("--text"), bordercolor: colour("--text"), font: { color: colour("--card"), size: 12.5, family: style.getPropertyValue("--font") }, align: "left" },
    dragmode: false,
    xaxis: {
      type: "category",
      fixedrange: true,
      tickmode: "array",
      tickvals: labelled.map((n) => days[n]),
      ticktext: labelled.map((n) => dayWords(days[n], false)),
      tickangle: 0,
      showgrid: false,
      linecolor: colour("--line"),
      range: [-0.6, days.length - 0.4],
    },
    yaxis: {
      fixedrange: true,
      automargin: true,
      tickmode: "array",
      tickvals: ticks,
      ticktext: ticks.map((tick) => (measure === "spend" ? `$${short(tick)}` : short(tick))),
      gridcolor: colour("--line"),
      zerolinecolor: colour("--line"),
      range: [least < 0 ? least * 1.1 : 0, top],
    },
  };
  await library.react(place, traces, layout, { displayModeBar: false, responsive: true, showTips: false, doubleClick: false });
  place.removeAllListeners?.("plotly_click");
  place.on("plotly_click", ({ points: [point] }) => drill(days[point.pointIndex], stacks[places[point.curveNumber]].value));
}

function hover(name, day, stack, n, total, measure) {
  const amount = amountOf(stack, n);
  if (amount === null) return "";
  const all = total.units === amount.units && total.scale === amount.scale ? "" : ` of ${shown(total, measure)}`;
  const lines = [`${weekday(day)} ${dayWords(day)}`, name, shown(amount, measure) + all];
  if (stack.provisional[n] !== null) lines.push(stack.final[n] === null ? "provisional" : `of which ${shown(stack.provisional[n], measure)} provisional`);
  return lines.map(plain).join("<br>");
}

function niceTicks(most) {
  if (!most) return [[0], 1];
  const rough = most / 4;
  const size = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * size).find((one) => one >= rough);
  const steps = Math.ceil(most / step);
  return [Array.from({ length: steps + 1 }, (_, n) => Number((n * step).toPrecision(12))), steps * step * 1.02];
}
