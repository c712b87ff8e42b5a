// At a glance: one figure a tile, with what it rests on.

import { el, fill, byId } from "./dom.js";

export const TILES = {
  spend: "Spend",
  tokens: "Tokens",
  requests: "Requests",
  unattributed: "Unattributed",
  month: "This month",
  findings: "Open findings",
};

export function tile(name, title, value, detail, title_ = null) {
  const made = el(
    "div",
    { class: "tile", id: `tile-${name}` },
    el("span", { class: "tile-title" }, title),
    el("span", { class: "tile-value", title: title_ }, value),
    el("span", { class: "tile-detail" }, detail),
  );
  const place = byId("tiles");
  const old = byId(made.id);
  if (old) old.replaceWith(made);
  else place.append(made);
  place.removeAttribute("aria-busy");
}

export function emptyTiles() {
  if (!byId("tiles").childElementCount) fill(byId("tiles"), Object.keys(TILES).map((name) => el("div", { class: "tile waiting", id: `tile-${name}` })));
}
