// Month to date, and a forecast to its end by the rule of the budgets, with where the budgets stand.

import { el, fill, head, byId, exact, bar, provisionalMark } from "./dom.js";
import { addDays, allDays, dayWords, daysFrom, monthDays, monthStart, monthWords } from "./days.js";
import { spend } from "./figures.js";
import { Decimal, exactMoney, fraction, money, sum } from "./numbers.js";
import { DIMENSIONS } from "./state.js";
import { tile } from "./tiles.js";

export const MEAN_DAYS = 7;

// The days to ask about: the month, and before today what the mean is made of.
export function monthRange(newest, today) {
  const [first, week] = [monthStart(newest), addDays(today, -MEAN_DAYS)];
  return [week < first ? week : first, newest];
}

// The same rule as usage_pipeline.budgets.status: ended days as they stand; today as the mean of the last seven ended
// days, or as what is spent already if that is more; each day to come as that mean. Days without figures after the
// newest or before the first reconciled one are left out of the mean; without any, there is no forecast.
// In: rows by day (several a day: parts of it). Out: amounts, and the forecast or null.
export function forecast(rows, { newest, today, firstKnown }) {
  const byDay = new Map();
  for (const row of rows) {
    const usd = spend(row) ?? Decimal.zero;
    const before = byDay.get(row.day) ?? { usd: Decimal.zero, provisional: Decimal.zero };
    byDay.set(row.day, { usd: before.usd.plus(usd), provisional: row.provisional ? before.provisional.plus(usd) : before.provisional });
  }
  const of = (day) => byDay.get(day)?.usd ?? Decimal.zero;
  const first = monthStart(newest);
  const last = addDays(first, monthDays(newest) - 1);
  const toDate = sum(allDays(first, newest).map(of));
  const provisional = sum(allDays(first, newest).map((day) => byDay.get(day)?.provisional ?? Decimal.zero));
  const told = { toDate, provisional, mean: null, days: 0, daysLeft: 0, amount: null };
  if (last < today) return { ...told, ended: true };
  const known = allDays(addDays(today, -MEAN_DAYS), addDays(today, -1)).filter((day) => day <= newest && firstKnown && day >= firstKnown);
  if (!known.length) return told;
  const mean = sum(known.map(of)).over(known.length, 9);
  const ended = first < today ? sum(allDays(first, addDays(today, -1)).map(of)) : Decimal.zero;
  const ofToday = of(today).minus(mean).isNegative() ? mean : of(today);
  const toCome = daysFrom(today, last) - 1;
  return { ...told, mean, days: known.length, daysLeft: toCome + 1, amount: ended.plus(ofToday).plus(mean.times(toCome)) };
}

export function showMonth({ rows }, { newest, today, firstKnown, filtered }) {
  const told = forecast(rows, { newest, today, firstKnown });
  const reach = told.amount ?? told.toDate;
  const rest = told.amount ? told.amount.minus(told.toDate) : Decimal.zero;
  const final = told.toDate.minus(told.provisional);
  const month = monthWords(newest);
  fill(
    byId("month"),
    head("month", month, el("span", { class: "quiet" }, `${told.ended ? "" : `to ${dayWords(newest, false)}`}${filtered ? ", filtered" : ""}`)),
    bar(
      [
        { fraction: fraction(final, reach), kind: "plain" },
        { fraction: fraction(told.provisional, reach), kind: "hatched" },
        { fraction: fraction(rest, reach), kind: "forecast" },
      ],
      `${money(told.toDate)} to date, ${told.amount ? `${money(told.amount)} forecast` : "no forecast"}`,
    ),
    el(
      "dl",
      { class: "figures" },
      pair(told.ended ? "The whole month" : "Month to date", told.toDate),
      told.provisional.isZero() ? null : pair("of which may still change, at most", told.provisional, "indent"),
      told.amount ? pair("Forecast to the month\u2019s end", told.amount, "strong") : null,
    ),
    el("p", { class: "note" }, words(told)),
  );
  const detail = told.amount ? `forecast ${money(told.amount)}` : told.ended ? "the month has ended" : "no forecast yet";
  tile("month", told.ended ? month : `${month} to date`, money(told.toDate), detail, exactMoney(told.toDate));
}

function words(told) {
  if (told.ended) return "The month has ended: what stands is the sum of its days.";
  if (!told.amount) return `No forecast: none of the last ${MEAN_DAYS} days has figures.`;
  const days = told.days === 1 ? "one day" : `${told.days} days`;
  return `A forecast, no figure: ended days as they stand, today and ${told.daysLeft - 1} to come at ${money(told.mean)}, the mean of the last ${days} that ended.`;
}

function pair(label, amount, kind = "") {
  return el("div", { class: kind }, el("dt", {}, label), el("dd", { class: "num" }, exact(money(amount), exactMoney(amount)), kind === "indent" ? [" ", provisionalMark()] : null));
}

// Budgets as their status says where they stand, in the periods of today.
export function showBudgets(budgets) {
  if (!budgets.length) {
    fill(byId("budgets"), el("p", { class: "note" }, "No budget is set. Set one with ", el("code", {}, "usage-pipeline budgets set"), "."));
    return;
  }
  fill(byId("budgets"), el("h3", {}, "Budgets"), el("ul", { class: "budgets" }, budgets.map(budget)));
}

function budget(one) {
  const [spent, amount] = [Decimal.of(one.spent.usd), Decimal.of(one.budget.usd)];
  const expected = one.forecast ? Decimal.of(one.forecast.usd) : null;
  const name = one.value ? `${DIMENSIONS[one.kind] ?? one.kind} ${one.name ?? one.value}` : "Everything";
  const over = expected && !amount.minus(expected).isNegative() ? "" : ", over the budget";
  return el(
    "li",
    {},
    el("div", { class: "budget-head" }, el("span", { title: one.value }, name), el("span", { class: "quiet" }, one.period), el("span", { class: `state ${one.state}` }, one.state)),
    bar([{ fraction: fraction(spent, amount), kind: one.state === "within" ? "plain" : one.state }, { fraction: expected ? fraction(expected.minus(spent), amount) : 0, kind: "forecast" }], `${one.percent} % spent`),
    el("div", { class: "budget-head quiet small" }, el("span", {}, exact(money(spent), exactMoney(spent)), ` of ${money(amount)}, ${one.percent} %`), expected ? el("span", {}, `forecast ${money(expected)}${over}`) : null),
  );
}
