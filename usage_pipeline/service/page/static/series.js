// The stacks of the chart from sums that the server made: the greatest groups by day, and what is left of each day.
//
// Rows come by day and provider too: a group of which a part is provisional is then hatched as to that part, and not
// as a whole because of a provider that nobody asks.

import { Decimal, sum } from "./numbers.js";
import { CLASSES, figure, measured } from "./figures.js";

export const REST = Symbol("everything else");

// In: the days shown, rows by day, provider and value, totals by day and provider, and which values have a stack of
// their own. Out: one object a stack: its value (REST for what is left), and by day what is final and what is
// provisional of it (null: nothing there).
export function stacksOf({ days, dimension, values, rows, totals, measure, hasRest }) {
  const stacks = values.map((value) => stackOf(value, days, rows.filter((row) => row[dimension] === value), (row) => measured(row, measure)));
  if (!hasRest) return stacks;
  const rest = stackOf(REST, days, totals, (row) => measured(row, measure));
  for (const part of ["final", "provisional"]) {
    rest[part] = rest[part].map((amount, n) => {
      const own = sum(stacks.map((stack) => stack[part][n]));
      if (own === null) return amount;
      const left = (amount ?? Decimal.zero).minus(own);
      // Shares of a whole are quotients: what is less than a billionth is their rounding, not usage.
      return left.rounded(9).isZero() ? null : left;
    });
  }
  return [...stacks, rest];
}

// Token classes as stacks, from the totals alone.
export function classStacks(days, totals) {
  return Object.keys(CLASSES).map((name) => stackOf(name, days, totals, (row) => figure(row.counted, name)));
}

function stackOf(value, days, rows, amountOf) {
  const place = new Map(days.map((day, n) => [day, n]));
  const stack = { value, final: days.map(() => null), provisional: days.map(() => null) };
  for (const row of rows) {
    const n = place.get(row.day);
    if (n === undefined) continue;
    const part = row.provisional ? stack.provisional : stack.final;
    part[n] = sum([part[n], amountOf(row)]);
  }
  return stack;
}

export const amountOf = (stack, n) => sum([stack.final[n], stack.provisional[n]]);

export function dayTotals(stacks, days) {
  return days.map((_, n) => sum(stacks.map((stack) => amountOf(stack, n))));
}

// What may still change of rows by day and provider.
export function provisionalOf(rows, measure) {
  return sum(rows.filter((row) => row.provisional).map((row) => measured(row, measure))) ?? Decimal.zero;
}
