// Open findings with their explanations, by day, and the raw pages that stand behind them.

import { el, fill, head, byId } from "./dom.js";
import { dayWords } from "./days.js";
import { tile, TILES } from "./tiles.js";

export const FINDINGS_A_PAGE = 100;

// One entry for all measures of what is the same finding otherwise.
export function together(findings) {
  const found = new Map();
  for (const one of findings) {
    const key = JSON.stringify([one.code, one.date, one.provider, one.account, one.route, one.family, one.model, one.feed, one.endpoint]);
    if (found.has(key)) found.get(key).also.push(one.measure ?? one.explanation);
    else found.set(key, { ...one, also: [] });
  }
  return [...found.values()];
}

export function showFindings(findings, cursor, { more, openRaw, canOpenRaw, fresh, unfiltered }) {
  const place = byId("findings");
  const entries = together(findings);
  const number = `${entries.length}${cursor ? "+" : ""}`;
  const shown = entries.map((one) => entry(one, openRaw, canOpenRaw));
  fill(
    place,
    head("findings", "Open findings", el("span", { class: "quiet" }, entries.length ? `${number} in these days${unfiltered}` : "")),
    entries.length ? el("ul", { class: "findings" }, shown) : el("p", { class: "empty" }, "No open finding in these days: what the sources say agrees."),
    cursor ? el("button", { type: "button", class: "plain", onclick: more }, "Show more") : null,
  );
  if (fresh) tile("findings", TILES.findings, number, entries.length ? el("a", { href: "#findings" }, "see below") : "none in these days");
}

function entry(one, openRaw, canOpenRaw) {
  const about = [one.provider, one.model, one.feed, one.endpoint].filter(Boolean).join(" · ");
  const pages = canOpenRaw ? (one.evidence ?? []).flatMap((record) => record.raw_pages ?? []) : [];
  return el(
    "li",
    {},
    el("div", { class: "finding-head" }, el("span", { class: "code" }, one.code), el("span", {}, about), el("time", { class: "quiet", datetime: one.date }, dayWords(one.date))),
    el("p", {}, one.explanation, one.also.length ? ` Also: ${one.also.join(", ")}.` : null, one.acknowledged ? ` Acknowledged by ${one.acknowledged.by}${one.acknowledged.note ? `: ${one.acknowledged.note}` : "."}` : null),
    pages.length
      ? el("p", { class: "quiet small" }, "Raw pages: ", pages.slice(0, 5).flatMap((page, n) => [n ? ", " : "", el("button", { type: "button", class: "link", onclick: () => openRaw(...page.split("/").map(Number)) }, page)]), pages.length > 5 ? ` and ${pages.length - 5} more` : null)
      : null,
  );
}
