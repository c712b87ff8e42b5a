// The page: what the reader looks at, which questions that takes, and where each answer goes.

import { ask, latest, logOut, Refused } from "./api.js";
import { byId, el, fill, head } from "./dom.js";
import { addDays, allDays, dayWords, daysFrom, instantWords } from "./days.js";
import { basisWords, figure, labelOf, learnNames, spend } from "./figures.js";
import { count, exactMoney, money } from "./numbers.js";
import { daysOf, DIMENSIONS, parametersOf, readState, writeState } from "./state.js";
import { classStacks, provisionalOf, REST, stacksOf } from "./series.js";
import { COLOURS_MAX, drawAgain, frame, showChart } from "./chart.js";
import { ROWS_AT_FIRST, ROWS_MORE, showClasses, showRanking } from "./ranking.js";
import { showExplained } from "./explained.js";
import { monthRange, showBudgets, showMonth } from "./month.js";
import { DAYS_SHOWN_MAX, showCoverage } from "./coverage.js";
import { FINDINGS_A_PAGE, showFindings } from "./findings.js";
import { fillValues, showFilters } from "./filters.js";
import { openRaw, openRows } from "./rows.js";
import { emptyTiles, tile, TILES } from "./tiles.js";
import { themeButton } from "./theme-button.js";

let state = readState(location.search);
let session = null;
let workspace = null;

const API = new Set(document.body.dataset.paths.split(" ")); // what this release answers

const newest = () => {
  const today = session.now.slice(0, 10);
  return workspace.last_day && workspace.last_day < today ? workspace.last_day : today;
};
const rangeNow = () => daysOf(state, newest(), workspace.first_day);
const can = (scope) => session.scopes.includes(scope);

// ── What goes wrong ──

function leave() {
  sessionStorage.setItem("session-ended", "yes");
  location.replace(`/login${location.search}`);
}

// The places of one question: they wait, show what came, or say what went wrong.
async function show(name, places, question, shown, failed = () => {}) {
  const waiting = places.map(byId);
  for (const place of waiting) place.setAttribute("aria-busy", "true");
  const signal = latest(name);
  try {
    const told = await question(signal);
    if (signal.aborted) return;
    shown(told);
    for (const place of waiting) place.removeAttribute("aria-busy");
  } catch (error) {
    if (error.name === "AbortError") return;
    if (error.status === 401) return leave();
    failed();
    for (const place of waiting) fill(place, ...problem(place, error, () => show(name, places, question, shown, failed)));
    if (!(error instanceof Refused)) throw error; // a fault of the page: the console tells where
  }
}

const TITLES = { chart: "Over time", ranking: "Who spends most", explained: "Explained by Hermes", month: "This month", coverage: "Coverage", findings: "Open findings" };

function problem(place, error, again) {
  const wait = error.retryAfter ? ` (in ${error.retryAfter} s)` : "";
  const words = el("p", { class: "problem", role: "alert" }, error.words ?? "The page met a fault of its own. Load it again.");
  const retry = [0, 429, 500, 502, 503, 504].includes(error.status) ? el("button", { type: "button", class: "plain", onclick: again }, `Try again${wait}`) : null;
  return [TITLES[place.id] ? head(place.id, TITLES[place.id]) : null, words, retry];
}

// ── What is asked ──

const FINDING_FILTERS = ["provider", "model", "feed"];

function load() {
  showFilters(state, rangeNow(), change);
  emptyTiles();
  const range = rangeNow();
  const asked = parametersOf(range, state.filters);
  frame(state, change);
  const totals = (signal) => ask("/api/usage", [...asked, ["group_by", "day,provider"]], signal);
  loadChart(range, asked, totals);
  show("explained", ["explained"], totals, showTotals, () => {
    for (const name of ["spend", "tokens", "requests", "unattributed"]) tile(name, TILES[name], "–", "could not be asked");
  });
  loadMonth();
  loadCoverage(range);
  loadFindings(range);
}

function showTotals(told) {
  const { totals } = told;
  const amount = spend(totals);
  const open = provisionalOf(told.rows, "spend");
  const words = amount === null ? "nothing counts" : [basisWords(totals.cost.counted?.basis), open.isZero() ? "final" : `${money(open)} provisional`].filter(Boolean).join("; ");
  tile("spend", TILES.spend, money(amount), words, exactMoney(amount));
  const tokens = figure(totals.counted, "tokens");
  tile("tokens", TILES.tokens, count(tokens), tokens === null ? "nobody tells them" : `${count(figure(totals.counted, "output"))} of them output`);
  const requests = figure(totals.counted, "requests");
  tile("requests", TILES.requests, count(requests), requests === null ? "not told here" : "as far as sources tell them");
  showExplained(told, state.filters);
  byId("notice").replaceChildren(...(told.rows.length ? [] : [nothing()]));
}

function nothing() {
  const filtered = Object.keys(state.filters).length > 0;
  if (!workspace.last_day) {
    return el("p", { class: "notice" }, "Nothing is reconciled yet. Register a key with ", el("code", {}, "usage-pipeline keys add"), " or a Hermes with ", el("code", {}, "usage-pipeline hermes add-feed"), ", then run ", el("code", {}, "usage-pipeline backfill"), ".");
  }
  const [first, last] = rangeNow();
  return el(
    "p",
    { class: "notice" },
    `Nothing counts from ${dayWords(first)} to ${dayWords(last)}${filtered ? " with these filters" : ""}. There are figures from ${dayWords(workspace.first_day)} to ${dayWords(workspace.last_day)}. `,
    filtered ? el("button", { type: "button", class: "link", onclick: () => change({ filters: {} }) }, "Remove the filters") : el("button", { type: "button", class: "link", onclick: () => change({ days: "30d", from: null, to: null }) }, "Show the newest 30 days"),
  );
}

// First the greatest groups, then their days: never more groups than the chart has colours for.
function loadChart(range, asked, totals, rowsMax = ROWS_AT_FIRST) {
  const { by, measure } = state;
  const order = measure === "spend" ? "cost" : "tokens";
  const days = allDays(...range);
  const drill = (day, value) => drillInto(day, by, value);
  const atHand = { range, dimension: by, measure };
  if (by === "class") {
    return show("chart", ["plot", "ranking"], totals, (told) => {
      showClasses(told.totals);
      return showChart({ ...atHand, stacks: classStacks(days, told.rows) }, drill);
    });
  }
  const groups = (signal) => ask("/api/usage", [...asked, ["group_by", by], ["order", order], ["limit", String(rowsMax)]], signal);
  show("ranking", ["ranking"], groups, (told) => {
    learnNames(told.rows, by);
    showRanking(told, state, {
      filter: (name, value) => change({ filter: [name, value, !(state.filters[name] ?? []).includes(value)] }),
      more: () => loadChart(range, asked, totals, ROWS_MORE),
    });
    showFilters(state, range, change); // names of ids may be known only now
  });
  return show("chart", ["plot"], async (signal) => {
    const { rows, rows_left_out } = await groups(signal);
    const values = rows.slice(0, COLOURS_MAX).map((row) => row[by]);
    const filters = { ...state.filters, [by]: values.map((value) => value ?? "") };
    const own = values.length ? ask("/api/usage", [...parametersOf(range, filters), ["group_by", by === "provider" ? "day,provider" : `day,provider,${by}`]], signal) : { rows: [] };
    const [daysOfGroups, all] = await Promise.all([own, totals(signal)]);
    return stacksOf({ days, dimension: by, values, rows: daysOfGroups.rows, totals: all.rows, measure, hasRest: rows_left_out > 0 || rows.length > COLOURS_MAX });
  }, (stacks) => showChart({ ...atHand, stacks }, drill));
}

function loadMonth() {
  const today = session.now.slice(0, 10);
  const parameters = [...parametersOf(monthRange(newest(), today), state.filters), ["group_by", "day,provider"]];
  const filtered = Object.keys(state.filters).length > 0;
  show("month", ["month"], (signal) => ask("/api/usage", parameters, signal), (told) =>
    showMonth(told, { newest: newest(), today, firstKnown: workspace.first_day, filtered }),
  );
  if (API.has("/api/budgets")) show("budgets", ["budgets"], (signal) => ask("/api/budgets", [], signal), (told) => showBudgets(told.budgets));
}

function loadCoverage([first, last]) {
  const shortened = daysFrom(first, last) > DAYS_SHOWN_MAX;
  const days = [shortened ? addDays(last, 1 - DAYS_SHOWN_MAX) : first, last];
  const feeds = state.filters.feed ? { feed: state.filters.feed.filter(Boolean) } : {};
  return show("coverage", ["coverage"], (signal) => ask("/api/coverage", parametersOf(days, feeds), signal), (told) =>
    showCoverage(told, days, { shortened, unfiltered: unfiltered(["feed"]), drill: (day, feed) => drillInto(day, "feed", feed) }),
  );
}

function loadFindings(range, before = [], cursor = null) {
  if (!can("findings")) {
    fill(byId("findings"), head("findings", "Open findings"), el("p", { class: "empty" }, "Your token has no scope findings. Ask the operator for one that has."));
    tile("findings", TILES.findings, "–", "not in your token's scope");
    return null;
  }
  const filters = Object.fromEntries(Object.entries(state.filters).filter(([name]) => FINDING_FILTERS.includes(name)));
  const parameters = [...parametersOf(range, filters), ["limit", String(FINDINGS_A_PAGE)], ...(cursor ? [["cursor", cursor]] : [])];
  return show("findings", ["findings"], (signal) => ask("/api/findings", parameters, signal), (told) => {
    const all = [...before, ...told.findings];
    showFindings(all, told.next_cursor, {
      more: () => loadFindings(range, all, told.next_cursor),
      openRaw,
      canOpenRaw: can("raw"),
      fresh: !before.length,
      unfiltered: unfiltered(FINDING_FILTERS),
    });
  });
}

// Words for the filters that a panel cannot take.
function unfiltered(taken) {
  const left = Object.keys(state.filters).filter((name) => !taken.includes(name)).map((name) => DIMENSIONS[name].toLowerCase());
  return left.length ? `, not filtered by ${left.join(", ")}` : "";
}

function drillInto(day, dimension, value) {
  const isGroup = value !== REST && dimension !== "class";
  const others = Object.entries(state.filters).filter(([name]) => !(isGroup && name === dimension));
  const words = [
    isGroup ? `${DIMENSIONS[dimension]} ${labelOf(dimension, value)}` : value === REST ? "all groups" : "",
    ...others.map(([name, values]) => `${DIMENSIONS[name]} ${values.map((one) => labelOf(name, one)).join(" or ")}`),
  ].filter(Boolean).join(", ");
  openRows({ day, words, filters: state.filters, only: isGroup ? { [dimension]: [value ?? ""] } : {}, canSeeRows: can("events"), canSeeRaw: can("raw") });
}

// ── What the reader changes ──

// `filter` is one value: its dimension, the value, and whether it shall be chosen.
function change({ filter = null, ...others }) {
  const filters = { ...state.filters, ...(others.filters ?? {}) };
  if (others.filters) for (const name of Object.keys(filters)) delete filters[name];
  if (filter) {
    const [name, value, wanted] = filter;
    const values = (filters[name] ?? []).filter((one) => one !== value);
    if (wanted) values.push(value);
    if (values.length) filters[name] = values;
    else delete filters[name];
  }
  state = { ...state, ...others, filters };
  history.pushState(null, "", writeState(state));
  load();
}

window.addEventListener("popstate", () => {
  state = readState(location.search);
  if (session) load();
});

byId("filters").addEventListener("asked", (event) => fillValues(event.detail, state, rangeNow()), true);

byId("logout").addEventListener("click", async () => {
  try {
    await logOut();
    location.replace("/login");
  } catch (error) {
    fill(byId("notice"), el("p", { class: "notice bad" }, `You are not logged out. ${error.words}`));
  }
});

themeButton(byId("theme"), drawAgain);

async function begin() {
  let told;
  try {
    [session, told] = await Promise.all([ask("/api/session"), ask("/api/workspaces")]);
  } catch (error) {
    if (error.status === 401) return leave();
    return fill(byId("notice"), el("p", { class: "notice bad", role: "alert" }, error.words ?? "The page met a fault of its own."), " ", el("button", { type: "button", class: "plain", onclick: () => location.reload() }, "Try again"));
  }
  [workspace] = told.workspaces;
  document.title = `Usage – ${workspace.name}`;
  byId("workspace").textContent = workspace.name;
  byId("demo").hidden = !workspace.demo;
  byId("logout").title = `Token ${session.token}${session.ends_at ? `, session until ${instantWords(session.ends_at)}` : ""}`;
  if (workspace.reconciled_at) byId("fresh").textContent = `Figures to ${dayWords(workspace.last_day)}, reconciled ${instantWords(workspace.reconciled_at)}`;
  return load();
}

begin();
