// Questions to the usage API: exact answers, refusals in the API's own words, and nothing that nobody waits for.

import { exactJson } from "./numbers.js";

const KEPT_MAX = 60;
const KEPT_MILLISECONDS = 60_000;
const kept = new Map();
const underWay = new Map();

export class Refused extends Error {
  constructor(status, code, words, retryAfter = null) {
    super(words);
    this.status = status;
    this.code = code;
    this.words = words;
    this.retryAfter = retryAfter;
  }
}

const UNREACHABLE = "The service cannot be reached. See whether usage-pipeline serve runs, and try again.";

async function send(address, options) {
  let answer;
  let text;
  try {
    answer = await fetch(address, { credentials: "same-origin", ...options });
    text = await answer.text();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "unreachable", UNREACHABLE);
  }
  if (!answer.ok) throw refusal(answer, text);
  return { answer, text };
}

function refusal(answer, text) {
  const wait = Number(answer.headers.get("Retry-After")) || null;
  try {
    const told = JSON.parse(text);
    if (typeof told.error === "string") return new Refused(answer.status, told.code ?? "", told.error, wait);
  } catch {
    // Not of the service: a proxy in front of it answered.
  }
  return new Refused(answer.status, `http_${answer.status}`, `The service answered with status ${answer.status}. Try again later.`, wait);
}

// The answer to a GET. The same question is asked once: while it is under way, and for a minute after.
export async function ask(path, parameters = [], signal = undefined) {
  const address = `${path}${parameters.length ? `?${new URLSearchParams(parameters)}` : ""}`;
  const known = kept.get(address);
  if (known && performance.now() - known.at < KEPT_MILLISECONDS) return known.told;
  if (underWay.has(address)) {
    try {
      return await underWay.get(address);
    } catch (error) {
      if (error.name !== "AbortError" || signal?.aborted) throw error; // else only the one who asked first gave up
    }
  }
  const asking = answered(address, signal);
  underWay.set(address, asking);
  try {
    return await asking;
  } finally {
    if (underWay.get(address) === asking) underWay.delete(address);
  }
}

async function answered(address, signal) {
  const { text } = await send(address, { signal, headers: { Accept: "application/json" } });
  const told = exactJson(text);
  kept.delete(address);
  kept.set(address, { told, at: performance.now() });
  if (kept.size > KEPT_MAX) kept.delete(kept.keys().next().value);
  return told;
}

// A document as it came, not read as JSON.
export async function askText(path, signal) {
  const { answer, text } = await send(path, { signal });
  return { text, from: answer.headers.get("X-Usage-Feed") ?? "" };
}

export async function logIn(token) {
  await send("/login", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ token }),
  });
}

export async function logOut() {
  kept.clear();
  await send("/logout", { method: "POST" });
}

// One question at a time of each name: a newer one cancels the one before.
const asked = new Map();

export function latest(name) {
  asked.get(name)?.abort();
  const controller = new AbortController();
  asked.set(name, controller);
  return controller.signal;
}
