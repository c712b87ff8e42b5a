// What the reader looks at, as the address says it, so that an address can be shared.

import { isDay, PRESETS, presetDays, addDays, daysFrom, DAYS_MAX } from "./days.js";

const FILTERS = ["provider", "model", "project", "api_key", "user", "service_account", "source", "feed", "team", "cost_center"];
const MEASURES = ["spend", "tokens", "input", "cache_read", "cache_write", "output", "reasoning", "requests"];
const ALSO_BY = ["repository", "profile", "hermes_feed"];

const known = new Set((document.body.dataset.dimensions ?? "").split(" "));
const OFFERED = [...FILTERS, ...ALSO_BY].filter((name) => known.has(name));

export const DIMENSIONS = {
  model: "Model",
  project: "Project",
  api_key: "Key",
  user: "User",
  service_account: "Service account",
  feed: "Feed",
  source: "Source",
  provider: "Provider",
  team: "Team",
  cost_center: "Cost centre",
  repository: "Repository",
  profile: "Hermes profile",
  hermes_feed: "Hermes install",
};

// The filters of the bar. What else can be stacked is a filter once it is chosen in the table.
export const BAR = FILTERS.filter((name) => known.has(name) && name !== "service_account");

export const STACKS = [...Object.keys(DIMENSIONS).filter((name) => OFFERED.includes(name)), "class"];

export function readState(search) {
  const given = new URLSearchParams(search);
  const pick = (name, choices, otherwise) => (choices.includes(given.get(name)) ? given.get(name) : otherwise);
  const state = {
    days: pick("days", PRESETS.map(([name]) => name), null),
    from: null,
    to: null,
    measure: pick("measure", MEASURES, "spend"),
    by: pick("by", STACKS, "model"),
    filters: Object.fromEntries(OFFERED.map((name) => [name, [...new Set(given.getAll(name))]]).filter(([, values]) => values.length)),
  };
  if (!state.days && isDay(given.get("from")) && isDay(given.get("to")) && given.get("from") <= given.get("to")) {
    [state.from, state.to] = [given.get("from"), given.get("to")];
    if (daysFrom(state.from, state.to) > DAYS_MAX) state.from = addDays(state.to, 1 - DAYS_MAX);
  } else {
    state.days ??= "30d";
  }
  return state;
}

export function writeState(state) {
  const told = new URLSearchParams();
  if (state.days) {
    if (state.days !== "30d") told.set("days", state.days);
  } else {
    told.set("from", state.from);
    told.set("to", state.to);
  }
  if (state.measure !== "spend") told.set("measure", state.measure);
  if (state.by !== "model") told.set("by", state.by);
  for (const [name, values] of Object.entries(state.filters)) for (const value of values) told.append(name, value);
  const text = told.toString();
  return text ? `?${text}` : location.pathname;
}

// First and last day, both included. A preset begins where there is anything to see.
export function daysOf(state, newest, firstKnown) {
  if (!state.days) return [state.from, state.to];
  const [first, last] = presetDays(state.days, newest);
  return [firstKnown && first < firstKnown && firstKnown <= last ? firstKnown : first, last];
}

// The parameters of a question about those days, with the filters, all or but one.
export function parametersOf([first, last], filters, without = null) {
  const told = [["from", first], ["to", last]];
  for (const [name, values] of Object.entries(filters)) {
    if (name !== without) for (const value of values) told.push([name, value]);
  }
  return told;
}
