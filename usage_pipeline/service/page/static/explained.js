// What Hermes explains of what the providers say, by token class.

import { el, fill, head, byId, exact, bar } from "./dom.js";
import { CLASSES, figure } from "./figures.js";
import { count, share, fraction } from "./numbers.js";
import { DIMENSIONS } from "./state.js";
import { tile, TILES } from "./tiles.js";

export function showExplained({ totals }, filters) {
  const place = byId("explained");
  const title = head("explained", "Explained by Hermes", el("span", { class: "quiet" }, "against unattributed"));
  if (!totals.explained || !totals.unattributed) {
    const by = Object.keys(filters).map((name) => DIMENSIONS[name].toLowerCase()).join(", ");
    const words = `Told for whole models only, not under a filter by ${by}. Remove filters other than provider and model to see it.`;
    fill(place, title, el("p", { class: "empty" }, words));
    tile("unattributed", TILES.unattributed, "–", "not told under this filter");
    return;
  }
  const lines = [...Object.keys(CLASSES), "tokens"].map((name) => line(name, totals));
  const stand = figure(totals.stand_in, "tokens");
  const excess = figure(totals.excess, "tokens");
  fill(
    place,
    title,
    el(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-labelledby": "explained-title" },
      el(
        "table",
        {},
        el("thead", {}, el("tr", {}, ["Tokens", "Counted", "Explained", "Unattributed"].map((words, n) => el("th", { scope: "col", class: n ? "num" : null }, words)), el("th", { scope: "col" }, el("span", { class: "visually-hidden" }, "Parts")))),
        el("tbody", {}, lines.slice(0, -1)),
        el("tfoot", {}, lines.at(-1)),
      ),
    ),
    el(
      "p",
      { class: "note" },
      el("i", { class: "swatch explained", "aria-hidden": "true" }), " explained ",
      el("i", { class: "swatch stand-in", "aria-hidden": "true" }), ` Hermes stands in (${count(stand)}) `,
      el("i", { class: "swatch unattributed", "aria-hidden": "true" }), " unattributed. ",
      excess && !excess.isZero() ? `Beyond the providers, Hermes says ${count(excess)} more, which is not counted: see the findings.` : null,
    ),
  );
  const all = figure(totals.counted, "tokens");
  const open = figure(totals.unattributed, "tokens");
  tile("unattributed", TILES.unattributed, share(open, all) || "–", `${count(open)} tokens`);
}

function line(name, totals) {
  const counted = figure(totals.counted, name);
  const parts = ["explained", "stand_in", "unattributed"].map((group) => ({ kind: group.replace("_", "-"), amount: figure(totals[group], name) }));
  const words = parts.map(({ kind, amount }) => `${kind} ${share(amount, counted) || "–"}`).join(", ");
  return el(
    "tr",
    {},
    el("th", { scope: "row" }, name === "tokens" ? "All" : CLASSES[name].words),
    el("td", { class: "num" }, exact(count(counted), count(counted))),
    el("td", { class: "num" }, count(parts[0].amount)),
    el("td", { class: "num" }, count(parts[2].amount)),
    el("td", { class: "parts" }, bar(parts.map(({ kind, amount }) => ({ kind, fraction: fraction(amount, counted) })), words)),
  );
}
