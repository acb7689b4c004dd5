// The theme: as the system has it, light, dark; in turn. And the rail's fold. Both are remembered by this browser.
const ORDER = ["auto", "light", "dark"];
const WORDS = { auto: "Theme: as the system", light: "Theme: light", dark: "Theme: dark" };
const root = document.documentElement;

function name() {
  const button = document.querySelector("[data-theme-switch]");
  const now = root.dataset.theme ?? "auto";
  if (button) {
    button.title = WORDS[now];
    button.setAttribute("aria-label", WORDS[now]);
  }
}

function keep(key, value) {
  try {
    if (value) localStorage.setItem(key, value);
    else localStorage.removeItem(key);
  } catch {
    // Storage is closed to us: it holds for this page alone.
  }
}

document.addEventListener("click", (event) => {
  if (event.target.closest?.("[data-theme-switch]")) {
    const next = ORDER[(ORDER.indexOf(root.dataset.theme ?? "auto") + 1) % ORDER.length];
    if (next === "auto") delete root.dataset.theme;
    else root.dataset.theme = next;
    keep("theme", next === "auto" ? "" : next);
    name();
    document.dispatchEvent(new CustomEvent("theme"));
  }
  if (event.target.closest?.("[data-rail-fold]")) {
    const folded = root.dataset.rail !== "folded";
    if (folded) root.dataset.rail = "folded";
    else delete root.dataset.rail;
    keep("rail", folded ? "folded" : "");
    fold();
  }
});

function fold() {
  const button = document.querySelector("[data-rail-fold]");
  const words = root.dataset.rail === "folded" ? "Unfold the rail" : "Fold the rail";
  button?.setAttribute("aria-label", words);
  if (button) button.title = words;
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => document.dispatchEvent(new CustomEvent("theme")));
name();
fold();
