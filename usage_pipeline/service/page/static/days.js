// UTC days as texts, "2026-11-10", and the words for them.

const DAY = 86_400_000;
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const WEEKDAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

export const DAYS_MAX = 1100;

const at = (day) => Date.parse(`${day}T00:00:00Z`);
const of = (instant) => new Date(instant).toISOString().slice(0, 10);

export const isDay = (text) => /^\d{4}-\d\d-\d\d$/.test(text ?? "") && !Number.isNaN(at(text)) && of(at(text)) === text;
export const addDays = (day, n) => of(at(day) + n * DAY);
export const daysFrom = (first, last) => Math.round((at(last) - at(first)) / DAY) + 1;
export const monthStart = (day) => `${day.slice(0, 8)}01`;
export const monthDays = (day) => new Date(Date.UTC(Number(day.slice(0, 4)), Number(day.slice(5, 7)), 0)).getUTCDate();

export function allDays(first, last) {
  return Array.from({ length: daysFrom(first, last) }, (_, n) => addDays(first, n));
}

export function dayWords(day, year = true) {
  const words = `${Number(day.slice(8))} ${MONTHS[Number(day.slice(5, 7)) - 1]}`;
  return year ? `${words} ${day.slice(0, 4)}` : words;
}

export const monthWords = (day) => `${MONTHS[Number(day.slice(5, 7)) - 1]} ${day.slice(0, 4)}`;
export const weekday = (day) => WEEKDAYS[new Date(at(day)).getUTCDay()];

export function instantWords(instant) {
  return `${dayWords(instant.slice(0, 10))}, ${instant.slice(11, 16)} UTC`;
}

export const PRESETS = [
  ["7d", "Last 7 days"],
  ["30d", "Last 30 days"],
  ["90d", "Last 90 days"],
  ["month", "This month"],
  ["last-month", "Last month"],
  ["year", "Last 365 days"],
];

// The first and last day of a preset, of which `newest` is the last one that there is anything to see of.
export function presetDays(preset, newest) {
  const back = { "7d": 7, "30d": 30, "90d": 90, year: 365 }[preset];
  if (back) return [addDays(newest, 1 - back), newest];
  if (preset === "month") return [monthStart(newest), newest];
  const last = addDays(monthStart(newest), -1);
  return [monthStart(last), last];
}
