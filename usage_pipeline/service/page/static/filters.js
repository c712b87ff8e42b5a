// The filter bar: days, and one list of values for each dimension, asked for when it is opened.

import { ask, latest } from "./api.js";
import { byId, el, exact, fill, nameAndId, select } from "./dom.js";
import { addDays, DAYS_MAX, daysFrom, isDay, PRESETS } from "./days.js";
import { isId, labelOf, learnNames, nameOf, spend, untold } from "./figures.js";
import { exactMoney, money } from "./numbers.js";
import { BAR, DIMENSIONS, parametersOf } from "./state.js";

const VALUES_SHOWN = 50;
const TYPING_MILLISECONDS = 350;
const FIRST_DAY = "2020-01-01"; // a year that is half typed is earlier

export function showFilters(state, range, change) {
  const place = byId("filters");
  // What is under the reader's hands stays: an open list of these days, or a date that is being typed.
  const open = place.querySelector("details[open]") && place.dataset.days === range.join();
  if (open || place.querySelector("input[type=date]:focus")) {
    place.querySelector("select").value = state.days ?? "";
    marks(place, state, change);
    return;
  }
  place.dataset.days = range.join();
  fill(
    place,
    days(state, range, change),
    ...BAR.map((name) => dimension(name, change)),
    el("span", { id: "chips", class: "chips" }),
  );
  marks(place, state, change);
}

function days(state, [first, last], change) {
  const from = el("input", { type: "date", value: first, "aria-label": "First day" });
  const to = el("input", { type: "date", value: last, "aria-label": "Last day" });
  const chosen = () => {
    if (![from.value, to.value].every((day) => isDay(day) && day >= FIRST_DAY) || from.value > to.value) return;
    if (daysFrom(from.value, to.value) > DAYS_MAX) from.value = addDays(to.value, 1 - DAYS_MAX);
    change({ days: null, from: from.value, to: to.value });
  };
  // Not at once: a date is typed part by part, and each part is told while the focus is on its way to the next one.
  let typed = 0;
  const changed = () => {
    clearTimeout(typed);
    typed = setTimeout(chosen, TYPING_MILLISECONDS);
  };
  for (const input of [from, to]) input.addEventListener("change", changed);
  return el(
    "span",
    { class: "days" },
    select("Days", [...PRESETS, ["", "Chosen days"]], state.days ?? "", (preset) => preset && change({ days: preset, from: null, to: null })),
    el("span", { class: "range" }, from, el("span", { class: "quiet", "aria-hidden": "true" }, "–"), to),
  );
}

function dimension(name, change) {
  const list = el("div", { class: "values", role: "group", "aria-label": DIMENSIONS[name] });
  const made = el(
    "details",
    { class: "filter", "data-dimension": name },
    el("summary", {}, DIMENSIONS[name], el("span", { class: "chosen" })),
    el("div", { class: "panel" }, list),
  );
  made.addEventListener("toggle", () => {
    if (!made.open) return;
    for (const other of document.querySelectorAll("details.filter[open]")) if (other !== made) other.open = false;
    const panel = made.querySelector(".panel");
    panel.classList.remove("at-end");
    panel.classList.toggle("at-end", panel.getBoundingClientRect().right > document.documentElement.clientWidth);
    fill(list, el("p", { class: "quiet" }, "Loading …"));
    made.dispatchEvent(new CustomEvent("asked", { detail: { list, name, change } }));
  });
  return made;
}

// The values of a dimension in these days, under the other filters.
export async function fillValues({ list, name, change }, state, range) {
  let told;
  try {
    const parameters = [...parametersOf(range, state.filters, name), ["group_by", name], ["order", "cost"], ["limit", String(VALUES_SHOWN)]];
    told = await ask("/api/usage", parameters, latest("values"));
  } catch (error) {
    if (error.name !== "AbortError") fill(list, el("p", { class: "problem" }, error.words ?? String(error)));
    return;
  }
  learnNames(told.rows, name);
  const chosen = new Set(state.filters[name] ?? []);
  const rows = told.rows.map((row) => option(name, row[name], spend(row), chosen));
  const unseen = [...chosen].filter((value) => !told.rows.some((row) => (row[name] ?? "") === value)).map((value) => option(name, value, null, chosen));
  const find = el("input", { type: "search", placeholder: "Find, or enter an exact id", "aria-label": `Find a ${DIMENSIONS[name].toLowerCase()}`, autocomplete: "off" });
  find.addEventListener("input", () => {
    const wanted = find.value.trim().toLowerCase();
    for (const one of list.querySelectorAll("label")) one.hidden = !one.textContent.toLowerCase().includes(wanted);
  });
  find.addEventListener("keydown", (event) => {
    const value = find.value.trim();
    if (event.key !== "Enter" || !value) return;
    event.preventDefault();
    const left = [...list.querySelectorAll("label:not([hidden]) input")];
    if (left.length === 1) left[0].click();
    else if (!left.length) change({ filter: [name, value, true] });
  });
  list.onchange = (event) => {
    if (event.target.type === "checkbox") change({ filter: [name, event.target.value, event.target.checked] });
  };
  fill(
    list,
    find,
    unseen,
    rows.length ? rows : el("p", { class: "quiet" }, "Nothing in these days."),
    told.rows_left_out ? el("p", { class: "quiet small" }, `The ${VALUES_SHOWN} greatest by spend; ${told.rows_left_out} more: enter an exact id.`) : null,
  );
}

function option(name, value, amount, chosen) {
  const box = el("input", { type: "checkbox", value: value ?? "", checked: chosen.has(value ?? "") });
  return el("label", {}, box, nameAndId(nameOf(name, value), value, untold(name), isId(name)), amount === null ? null : exact(money(amount), exactMoney(amount), "quiet"));
}

function marks(place, state, change) {
  for (const one of place.querySelectorAll("details.filter")) {
    const number = (state.filters[one.dataset.dimension] ?? []).length;
    one.querySelector(".chosen").textContent = number ? String(number) : "";
    one.classList.toggle("active", number > 0);
  }
  const chips = Object.entries(state.filters).flatMap(([name, values]) =>
    values.map((value) =>
      el("button", { type: "button", class: "chip", title: value, "aria-label": `Remove the filter ${DIMENSIONS[name]} ${labelOf(name, value)}`, onclick: () => change({ filter: [name, value, false] }) }, el("span", { class: "quiet" }, `${DIMENSIONS[name]} `), labelOf(name, value), el("span", { "aria-hidden": "true" }, " ×")),
    ),
  );
  fill(byId("chips"), chips, chips.length > 1 ? el("button", { type: "button", class: "link", onclick: () => change({ filters: {} }) }, "Remove all") : null);
}

// Lists close as menus do.
document.addEventListener("click", (event) => {
  for (const one of document.querySelectorAll("details.filter[open]")) if (!one.contains(event.target)) one.open = false;
});
document.addEventListener("keydown", (event) => {
  const open = event.key === "Escape" ? document.querySelector("details.filter[open]") : null;
  if (!open) return;
  open.open = false;
  open.querySelector("summary").focus();
});
