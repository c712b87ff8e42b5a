// The button that goes through: as the system, light, dark.

import { fill } from "./dom.js";

const NEXT = { "": "light", light: "dark", dark: "" };
const WORDS = { "": "Theme: auto", light: "Theme: light", dark: "Theme: dark" };

export function themeButton(button, changed) {
  const root = document.documentElement;
  const say = () => {
    const words = WORDS[root.dataset.theme ?? ""];
    fill(button, words);
    button.setAttribute("aria-label", `${words}. Change it.`);
  };
  button.addEventListener("click", () => {
    const next = NEXT[root.dataset.theme ?? ""];
    if (next) root.dataset.theme = next;
    else delete root.dataset.theme;
    try {
      localStorage.setItem("theme", next);
    } catch {
      // It holds as long as the page.
    }
    say();
    changed();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
  say();
}
