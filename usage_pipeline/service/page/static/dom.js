// Elements from text alone: whatever a provider called its models stays text.

export function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

// Puts new content in. Whoever had the focus there keeps it, where the new content has the same `data-key`.
export function fill(place, ...children) {
  const key = place.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  place.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  place.removeAttribute("aria-busy");
  if (key) place.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus();
}

export const byId = (id) => document.getElementById(id);

// A value with its exact form for whoever hovers or asks for the title.
export function exact(shown, whole, extra = "") {
  const title = extra === "provisional" ? `${whole}, wholly or in part provisional` : whole;
  return el("span", { title: title === shown ? null : title, class: `number ${extra}`.trim() }, shown);
}

// A name for people with the id beside it.
export function nameAndId(name, id, untold, isId = true) {
  if (id === null || id === undefined || id === "") return el("span", { class: "untold" }, untold);
  if (!name || name === id || !isId) return el("span", { class: "name", title: id }, name || id);
  return el("span", { class: "name", title: id }, name, " ", el("span", { class: "id" }, id));
}

export function bar(parts, label) {
  const made = el("span", { class: "bar", role: "img", "aria-label": label });
  for (const { fraction, kind } of parts) {
    const part = el("span", { class: `part ${kind}` });
    part.style.width = `${(100 * Math.max(0, Math.min(1, fraction))).toFixed(2)}%`;
    made.append(part);
  }
  return made;
}

export function provisionalMark(words = "provisional") {
  return el("span", { class: "mark", title: "Provisional: it may still change by itself." }, words);
}

export function head(id, title, ...beside) {
  return el("div", { class: "card-head" }, el("h2", { id: `${id}-title` }, title), ...beside);
}

export function select(label, options, value, chosen) {
  const made = el("select", { "aria-label": label, "data-key": label, onchange: () => chosen(made.value) });
  for (const [key, words] of options) made.append(el("option", { value: key, selected: key === value }, words));
  return made;
}
