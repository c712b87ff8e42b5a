// What a group of the usage API says in one measure, and the words for measures and values.

import { Decimal, sum, money, exactMoney, count } from "./numbers.js";
import { DIMENSIONS } from "./state.js";

const CACHE_WRITES = ["cache_write_5m", "cache_write_30m", "cache_write_1h", "cache_write_12h", "cache_write_unsplit"];

export const CLASSES = {
  input: { words: "Uncached input", of: ["uncached_input"] },
  cache_read: { words: "Cache read", of: ["cache_read"] },
  cache_write: { words: "Cache write", of: CACHE_WRITES },
  output: { words: "Output", of: ["output"] },
};

export const MEASURES = {
  spend: "Spend",
  tokens: "Tokens",
  input: "Tokens: uncached input",
  cache_read: "Tokens: cache read",
  cache_write: "Tokens: cache write",
  output: "Tokens: output",
  reasoning: "Tokens: reasoning (part of output)",
  requests: "Requests",
};

// A measure of a group of figures (counted, explained, …); null where nobody tells it.
export function figure(figures, measure) {
  if (!figures) return null;
  if (measure === "requests" || measure === "reasoning") return Decimal.of(figures[measure]);
  const classes = measure === "tokens" ? Object.keys(figures.tokens) : CLASSES[measure].of;
  return sum(classes.map((name) => Decimal.of(figures.tokens[name])));
}

export function spend(group) {
  return Decimal.of(group.cost.counted?.usd ?? null);
}

export function measured(group, measure) {
  return measure === "spend" ? spend(group) : figure(group.counted, measure);
}

export const shown = (amount, measure) => (measure === "spend" ? money(amount) : count(amount));
export const whole = (amount, measure) => (measure === "spend" ? exactMoney(amount) : count(amount));

const SOURCES = {
  provider: "Provider",
  billed_line: "Billed line without usage",
  hermes_stand_in: "Hermes, standing in",
  hermes_lower_bound: "Hermes, as a lower bound",
  provider_api_key: "Provider",
  hermes_plugin: "Hermes",
};

const BASES = { billed: "billed", estimate: "estimated at list prices" };

export const basisWords = (basis) => (basis ?? "").split("; ").filter(Boolean).map((one) => BASES[one] ?? one.replaceAll("_", " ")).join(", ");

// What ids are called, as answers told it: by dimension and id.
const names = new Map();

export function learnNames(rows, dimension) {
  for (const row of rows) if (row.names?.[dimension]) names.set(`${dimension} ${row[dimension]}`, row.names[dimension]);
}

// Whether the value is an id that a name hides; the others are words of ours.
export const isId = (dimension) => dimension !== "source";

export function nameOf(dimension, value) {
  if (dimension === "source") return SOURCES[value] ?? value;
  if (dimension === "class") return CLASSES[value]?.words ?? value;
  if (dimension === "repository" && value) return value.split("/").slice(-2).join("/"); // its end tells it apart
  return names.get(`${dimension} ${value}`) ?? "";
}

export function labelOf(dimension, value) {
  if (value === null || value === "") return untold(dimension);
  return nameOf(dimension, value) || value;
}

export const untold = (dimension) => `no ${(DIMENSIONS[dimension] ?? dimension).toLowerCase()} told`;
