// Who spends most: the greatest groups with names and ids, and the legend of the chart's colours.

import { el, fill, head, byId, exact, nameAndId, bar, provisionalMark } from "./dom.js";
import { CLASSES, MEASURES, figure, isId, labelOf, measured, nameOf, shown, untold, whole } from "./figures.js";
import { count, fraction, share } from "./numbers.js";
import { DIMENSIONS } from "./state.js";
import { COLOURS_MAX } from "./chart.js";

export const ROWS_AT_FIRST = COLOURS_MAX; // each has its colour
export const ROWS_MORE = 100;

export function showRanking(told, state, { filter, more }) {
  const { rows, totals, rest } = told;
  const by = state.by;
  const total = measured(totals, state.measure);
  const ordered = [...rows].sort((one, other) => approximate(other, state) - approximate(one, state));
  const lines = ordered.map((row) => line(row, rows.indexOf(row), by, state, total, filter));
  if (rest) {
    const amount = measured(rest, state.measure);
    lines.push(
      el(
        "tr",
        { class: "rest" },
        el("td", {}, el("div", { class: "who" }, el("i", { class: "swatch rest", "aria-hidden": "true" }), el("span", { class: "quiet" }, `${told.rows_left_out} more`))),
        el("td", { class: "num" }, exact(shown(amount, state.measure), whole(amount, state.measure))),
        el("td", { class: "num share" }, share(amount, total)),
      ),
    );
  }
  const title = state.measure === "spend" ? "Who spends most" : "Who uses most";
  fill(
    byId("ranking"),
    head("ranking", title, el("span", { class: "quiet" }, `by ${DIMENSIONS[by].toLowerCase()}`)),
    rows.length
      ? el(
          "div",
          { class: "scroll", tabindex: "0", role: "region", "aria-labelledby": "ranking-title" },
          el(
            "table",
            { class: "ranking" },
            el("thead", {}, el("tr", {}, el("th", { scope: "col" }, DIMENSIONS[by]), el("th", { scope: "col", class: "num" }, MEASURES[state.measure].split(":")[0]), el("th", { scope: "col", class: "num" }, "Share"))),
            el("tbody", {}, lines),
            el("tfoot", {}, el("tr", {}, el("th", { scope: "row" }, "All", totals.provisional ? [" ", provisionalMark("partly provisional")] : null), el("td", { class: "num strong" }, exact(shown(total, state.measure), whole(total, state.measure))), el("td", { class: "num share" }, total === null ? "" : "100 %"))),
          ),
        )
      : el("p", { class: "empty" }, "Nothing counts in these days with these filters."),
    told.rows_left_out && rows.length < ROWS_MORE ? el("button", { type: "button", class: "plain", onclick: more }, `Show up to ${ROWS_MORE}`) : null,
  );
}

const approximate = (row, state) => measured(row, state.measure)?.approximate() ?? -Infinity;

function line(row, place, by, state, total, filter) {
  const value = row[by];
  const amount = measured(row, state.measure);
  const chosen = (state.filters[by] ?? []).includes(value ?? "");
  return el(
    "tr",
    {},
    el(
      "td",
      {},
      el("div", { class: "who" }, el("i", { class: `swatch ${place < COLOURS_MAX ? `series-${place + 1}` : "rest"}`, "aria-hidden": "true" }),
      el(
        "button",
        { type: "button", class: "link", "data-key": `value ${value ?? ""}`, "aria-pressed": String(chosen), "aria-label": `${chosen ? "No longer only" : "Only"} ${labelOf(by, value)}`, onclick: () => filter(by, value ?? "") },
        nameAndId(nameOf(by, value), value, untold(by), isId(by)),
      )),
    ),
    el("td", { class: "num" }, exact(shown(amount, state.measure), whole(amount, state.measure), row.provisional ? "provisional" : "")),
    el("td", { class: "num share" }, share(amount, total), bar([{ fraction: fraction(amount, total), kind: "plain" }], "")),
  );
}

// The legend where token classes are stacked.
export function showClasses({ counted }) {
  const all = figure(counted, "tokens");
  const rows = Object.entries(CLASSES).map(([name, { words }], place) => {
    const amount = figure(counted, name);
    return el("tr", {}, el("td", {}, el("div", { class: "who" }, el("i", { class: `swatch series-${place + 1}`, "aria-hidden": "true" }), words)), el("td", { class: "num" }, count(amount)), el("td", { class: "num share" }, share(amount, all)));
  });
  fill(
    byId("ranking"),
    head("ranking", "Token classes"),
    el("table", { class: "ranking" }, el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Class"), el("th", { scope: "col", class: "num" }, "Tokens"), el("th", { scope: "col", class: "num" }, "Share"))), el("tbody", {}, rows), el("tfoot", {}, el("tr", {}, el("th", { scope: "row" }, "All"), el("td", { class: "num" }, count(all)), el("td", { class: "num share" }, all === null ? "" : "100 %")))),
  );
}
