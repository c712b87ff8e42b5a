// The rows behind a bar, page by page, and the raw page behind a row.

import { ask, askText, latest } from "./api.js";
import { byId, el, exact, fill } from "./dom.js";
import { dayWords } from "./days.js";
import { labelOf } from "./figures.js";
import { Decimal, count, exactMoney, money } from "./numbers.js";
import { DIMENSIONS, parametersOf } from "./state.js";

const ROWS_A_PAGE = 50;
const RAW_SHOWN_MAX = 400_000;
const PAGES_SEARCHED_MAX = 40;

// The filters that the events' route takes, and what it calls their values.
const TAKEN = ["provider", "model", "project", "api_key", "user", "service_account", "source", "feed"];
const SOURCES = { provider: ["provider_api_key"], hermes_stand_in: ["hermes_plugin"], hermes_lower_bound: ["hermes_plugin"] };

const STATES = {
  counted: "counted",
  shadowed: "not counted: another row says the same",
  informational: "shown, no usage of its own",
  compared: "compared with the provider",
  shown: "shown only",
  hours: "another cut of the same day",
  repositories: "another cut of the same day",
  not_reconciled_yet: "not reconciled yet",
};

// The filters in the words of the events' route, and those that it cannot take.
export function eventFilters(filters) {
  const told = {};
  const left = [];
  for (const [name, values] of Object.entries(filters)) {
    if (!TAKEN.includes(name)) left.push(name);
    else if (name !== "source") told[name] = values;
    else {
      const sources = [...new Set(values.flatMap((value) => SOURCES[value] ?? []))];
      if (sources.length) told.source = sources;
      else left.push(name);
    }
  }
  return [told, left];
}

function close(dialog) {
  return el("button", { type: "button", class: "plain", "aria-label": "Close", onclick: () => dialog.close() }, "Close");
}

// `only` are further filters: what the bar is of. `words` say the same.
export async function openRows({ day, words, filters, only, canSeeRows, canSeeRaw }) {
  const dialog = byId("rows");
  const [told, left] = eventFilters({ ...filters, ...only });
  const list = el("tbody", {});
  const status = el("p", { class: "note", role: "status" }, "Loading …");
  const more = el("button", { type: "button", class: "plain", hidden: true }, "Show more");
  const columns = ["From", "Report", "Model", "Project · key · user", "Uncached", "Cache read", "Cache write", "Output", "Requests", "State", ""];
  fill(
    dialog,
    el("div", { class: "card-head" }, el("h2", { id: "rows-title" }, `Rows of ${dayWords(day)}`), el("span", { class: "quiet" }, words), close(dialog)),
    left.length ? el("p", { class: "note" }, `Rows do not tell the ${left.map((name) => DIMENSIONS[name].toLowerCase()).join(", ")}: that filter is left out here.`) : null,
    el("div", { class: "scroll tall", tabindex: "0", role: "region", "aria-labelledby": "rows-title" }, el("table", { class: "rows" }, el("thead", {}, el("tr", {}, columns.map((name, n) => el("th", { scope: "col", class: n >= 4 && n <= 8 ? "num" : null }, name)))), list)),
    more,
    status,
  );
  if (!dialog.open) dialog.showModal();
  const signal = latest("rows");
  let cursor = null;
  let number = 0;
  const next = async () => {
    more.disabled = true;
    try {
      if (!canSeeRows) throw { words: "Your token has no scope events, which shows single rows. Ask the operator for one that has." };
      const parameters = [...parametersOf([day, day], told), ["limit", String(ROWS_A_PAGE)], ...(cursor ? [["cursor", cursor]] : [])];
      const answer = await ask("/api/usage/events", parameters, signal);
      list.append(...answer.rows.map((row) => line(row, canSeeRaw)));
      number += answer.rows.length;
      cursor = answer.next_cursor;
      more.hidden = !cursor;
      fill(status, number ? `${number} ${number === 1 ? "row" : "rows"}${cursor ? ", and there are more" : ""}. Rows that are not counted are shown too, since they explain the others.` : "No row stands behind this figure: it comes from a bill's line alone, or its rows name no such value.");
    } catch (error) {
      if (error.name !== "AbortError") fill(status, el("span", { class: "problem" }, error.words ?? String(error)));
    }
    more.disabled = false;
  };
  more.addEventListener("click", next);
  await next();
}

function line(row, canSeeRaw) {
  const whole = (name) => count(Decimal.of(row[name]));
  const written = ["cache_write_5m", "cache_write_30m", "cache_write_1h", "cache_write_12h", "cache_write_unsplit"].map((name) => Decimal.of(row[name])).filter(Boolean);
  const cacheWrite = written.length ? written.reduce((one, other) => one.plus(other)) : null;
  const who = [["project", row.project_id], ["api_key", row.api_key_id], ["user", row.user_id], ["service_account", row.service_account_id]].filter(([, id]) => id);
  const usd = Decimal.of(row.estimated_cost_usd);
  return el(
    "tr",
    { class: row.state === "counted" ? null : "dim" },
    el("td", { class: "nowrap" }, row.window_start.slice(11, 16)),
    el("td", { title: row.feed }, el("span", { class: "name" }, row.feed, " ", el("span", { class: "id" }, row.endpoint))),
    el("td", {}, row.model ?? el("span", { class: "untold" }, "not told")),
    el("td", {}, who.length ? who.flatMap(([name, id], n) => [n ? " · " : "", el("span", { title: `${DIMENSIONS[name]} ${id}` }, labelOf(name, id))]) : el("span", { class: "untold" }, "not told")),
    el("td", { class: "num" }, whole("uncached_input")),
    el("td", { class: "num" }, whole("cache_read")),
    el("td", { class: "num" }, count(cacheWrite)),
    el("td", { class: "num" }, whole("output")),
    el("td", { class: "num" }, whole("requests")),
    el("td", { title: STATES[row.state] }, row.state.replaceAll("_", " "), usd ? [" · ", exact(money(usd), exactMoney(usd)), " says Hermes"] : null),
    el("td", {}, row.pull_id && canSeeRaw ? el("button", { type: "button", class: "link", onclick: () => openRaw(row.pull_id, 0, row.window_start) }, "Raw") : null),
  );
}

// A raw page. With an instant, the first page from there on that tells of it, with the place marked.
export async function openRaw(pull, page, instant = null) {
  const dialog = byId("raw");
  const note = el("p", { class: "note", role: "status" }, "Loading …");
  const text = el("pre", { class: "raw", tabindex: "0", "aria-label": "The answer's text" });
  if (!dialog.open) dialog.replaceChildren();
  const signal = latest("raw");
  let found = null;
  try {
    found = await findPage(pull, page, instant, signal, (at) => frame(dialog, pull, at, note, text));
  } catch (error) {
    if (error.name === "AbortError") return;
    frame(dialog, pull, page, note, text);
    const beyond = error.code === "page_unknown" && page > 0;
    fill(note, beyond ? `Page ${page - 1} is the last one of this pull.` : el("span", { class: "problem" }, error.words ?? String(error)));
    if (beyond) dialog.querySelector(".pager button:last-child").disabled = true;
    return;
  }
  const { told, shown, place, length } = found;
  dialog.querySelector(".from").textContent = told.from;
  fill(text, place < 0 ? shown : [shown.slice(0, place), el("mark", {}, shown.slice(place, place + length)), shown.slice(place + length)], told.text.length > RAW_SHOWN_MAX ? "\n… the rest is in the download." : null);
  const where = place >= 0 ? " Marked: where it tells of the row's time." : instant ? " It does not name the row's time; see the pages after it." : "";
  fill(note, `What the provider answered, as it came; set in lines here.${where}`);
  text.querySelector("mark")?.scrollIntoView({ block: "center" });
}

async function findPage(pull, first, instant, signal, framed) {
  // Providers write an instant as RFC 3339, as a day or as seconds since 1970.
  const terms = instant ? [instant.slice(0, 19), String(Date.parse(instant) / 1000), ...(instant.includes("T00:00") ? [instant.slice(0, 10)] : [])] : [];
  let earliest = null;
  for (let page = first; page < first + (instant ? PAGES_SEARCHED_MAX : 1); page += 1) {
    framed(page);
    let told;
    try {
      told = await askText(`/api/raw/${pull}/${page}`, signal);
    } catch (error) {
      if (error.code !== "page_unknown" || !earliest) throw error;
      break;
    }
    const found = { told, shown: inLines(told.text.slice(0, RAW_SHOWN_MAX)), place: -1, length: 0 };
    earliest ??= found;
    if (!instant) return found;
    for (const term of terms) {
      const place = placeOf(term, found.shown);
      if (place >= 0) return { ...found, place, length: term.length };
    }
  }
  framed(first);
  return earliest;
}

// Where a line names the term as a start, not as the end of what is before; -1 for nowhere.
function placeOf(term, shown) {
  for (let at = shown.indexOf(term); at >= 0; at = shown.indexOf(term, at + 1)) {
    if (!/end/i.test(shown.slice(shown.lastIndexOf("\n", at) + 1, at))) return at;
  }
  return -1;
}

function frame(dialog, pull, page, note, text) {
  const path = `/api/raw/${pull}/${page}`;
  fill(
    dialog,
    el("div", { class: "card-head" }, el("h2", { id: "raw-title" }, `Raw page ${page} of pull ${pull}`), el("span", { class: "quiet from" }), el("a", { class: "button plain", href: path, download: `raw-${pull}-${page}.json` }, "Download"), close(dialog)),
    note,
    text,
    el("p", { class: "pager" }, el("button", { type: "button", class: "plain", disabled: page === 0, onclick: () => openRaw(pull, page - 1) }, "Page before"), el("button", { type: "button", class: "plain", onclick: () => openRaw(pull, page + 1) }, "Next page")),
  );
  if (!dialog.open) dialog.showModal();
}

// JSON set in lines without reading it, so that every digit stays.
function inLines(text) {
  let depth = 0;
  return text.replace(/"(?:[^"\\]|\\.)*"|[{}[\],:]|\s+/g, (token) => {
    if (token[0] === '"') return token;
    if (/^\s/.test(token)) return "";
    if (token === "{" || token === "[") return `${token}\n${"  ".repeat((depth += 1))}`;
    if (token === "}" || token === "]") return `\n${"  ".repeat((depth = Math.max(0, depth - 1)))}${token}`;
    return token === "," ? `,\n${"  ".repeat(depth)}` : ": ";
  }).replace(/([{[])\n\s*\n\s*([}\]])/g, "$1$2");
}

