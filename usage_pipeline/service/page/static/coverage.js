// Coverage as a calendar: keys and Hermes feeds × days, what stands of each.

import { el, fill, head, byId } from "./dom.js";
import { dayWords, instantWords, weekday } from "./days.js";

export const DAYS_SHOWN_MAX = 92;

const STATES = {
  final: ["final", "a complete answer, given after the settling time", ""],
  provisional: ["provisional", "a complete answer stands, and may still change", ""],
  failed: ["failed", "it was asked for, and no complete answer stands", "×"],
  missing: ["missing", "nothing was asked for or sent, long enough after the day's end", "!"],
  awaited: ["awaited", "nothing was asked for or sent yet, and there is still time", "·"],
  disabled: ["disabled", "the key or feed was disabled on that day", "–"],
  not_begun: ["not begun", "the day lies in the future", ""],
};

const words = (state) => STATES[state] ?? [state.replaceAll("_", " "), "", "?"];

export function showCoverage({ feeds }, [first, last], { shortened, unfiltered, drill }) {
  const place = byId("coverage");
  const title = head("coverage", "Coverage", el("span", { class: "quiet" }, `${dayWords(first)} – ${dayWords(last)}${shortened ? `, the last ${DAYS_SHOWN_MAX} days` : ""}${unfiltered}`));
  if (!feeds.length) {
    fill(place, title, el("p", { class: "empty" }, "No key and no Hermes feed is registered. Begin with: ", el("code", {}, "usage-pipeline keys add"), " or ", el("code", {}, "usage-pipeline hermes add-feed"), "."));
    return;
  }
  const detail = el("p", { class: "note detail", role: "status" }, "Choose a day to see what stands of it. Arrow keys move.");
  const days = feeds[0].days.map((one) => one.date);
  const body = feeds.map((feed, row) =>
    el(
      "tr",
      {},
      el("th", { scope: "row", title: feed.feed }, feed.feed),
      feed.days.map((day, column) => cell(feed, day, row, column)),
    ),
  );
  const months = monthSpans(days);
  const grid = el(
    "table",
    { class: "calendar", role: "grid", "aria-labelledby": "coverage-title" },
    el("thead", {}, el("tr", { class: "months" }, el("td", {}), months.map(([name, span]) => el("th", { colspan: span, scope: "colgroup" }, span > 2 ? name : ""))), el("tr", {}, el("th", { scope: "col" }, el("span", { class: "visually-hidden" }, "Key or feed")), days.map((day) => el("th", { scope: "col", class: "day", title: `${weekday(day)} ${dayWords(day)}` }, String(Number(day.slice(8))))))),
    el("tbody", {}, body),
  );
  grid.addEventListener("keydown", move);
  const tell = ({ target }) => {
    const at = target.closest("td[data-row]");
    if (!at) return;
    const feed = feeds[Number(at.dataset.row)];
    describe(detail, feed, feed.days[Number(at.dataset.column)], drill);
    for (const one of grid.querySelectorAll("td[aria-selected]")) one.removeAttribute("aria-selected");
    at.setAttribute("aria-selected", "true");
  };
  grid.addEventListener("click", tell);
  grid.addEventListener("focusin", tell);
  const present = new Set(feeds.flatMap((feed) => feed.days.map((day) => day.state)));
  const legend = el("p", { class: "note legend" }, Object.keys(STATES).filter((state) => present.has(state)).map((state) => el("span", {}, el("i", { class: `cell ${state}`, "aria-hidden": "true" }, words(state)[2]), ` ${words(state)[0]}`)));
  const scroll = el("div", { class: "scroll" }, grid);
  fill(place, title, scroll, legend, detail);
  scroll.scrollLeft = scroll.scrollWidth;
}

function cell(feed, day, row, column) {
  const [name, , sign] = words(day.state);
  return el(
    "td",
    {
      tabindex: row === 0 && column === 0 ? "0" : "-1",
      "data-row": row,
      "data-column": column,
      "aria-label": `${dayWords(day.date)}: ${name}${day.errors.length ? `, last failed with ${day.errors.join(", ")}` : ""}`,
      title: `${dayWords(day.date)}: ${name}`,
    },
    el("i", { class: `cell ${day.state} ${day.errors.length ? "with-errors" : ""}`, "aria-hidden": "true" }, sign),
  );
}

function monthSpans(days) {
  const spans = [];
  for (const day of days) {
    const name = dayWords(day).replace(/^\d+ /, "");
    if (spans.at(-1)?.[0] === name) spans.at(-1)[1] += 1;
    else spans.push([name, 1]);
  }
  return spans;
}

function describe(place, feed, day, drill) {
  const [name, meaning] = words(day.state);
  const reports = Object.entries(day.endpoints);
  const others = reports.filter(([, state]) => state !== day.state).map(([report, state]) => `${report} ${words(state)[0]}`);
  fill(
    place,
    el("strong", {}, feed.feed),
    `, ${weekday(day.date)} ${dayWords(day.date)}: `,
    el("strong", {}, name),
    meaning ? ` – ${meaning}.` : ".",
    day.covered_until ? ` Covered until ${instantWords(day.covered_until)}.` : null,
    reports.length ? ` ${reports.length} ${reports.length === 1 ? "report" : "reports"}${others.length ? `, of which ${others.join(", ")}` : ""}.` : null,
    day.errors.length ? ` The last attempts failed with ${day.errors.join(", ")}.` : null,
    " ",
    reports.length ? el("button", { type: "button", class: "link", onclick: () => drill(day.date, feed.feed) }, "Its rows") : null,
  );
}

const STEPS = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0], Home: [0, -1e6], End: [0, 1e6] };

function move(event) {
  const at = event.target.closest("td[data-row]");
  const step = STEPS[event.key];
  if (!at || !step) return;
  event.preventDefault();
  const rows = [...event.currentTarget.querySelectorAll("tbody tr")];
  const row = Math.max(0, Math.min(rows.length - 1, Number(at.dataset.row) + step[0]));
  const cells = rows[row].querySelectorAll("td");
  const next = cells[Math.max(0, Math.min(cells.length - 1, Number(at.dataset.column) + step[1]))];
  at.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
}
