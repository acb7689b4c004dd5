// Loads a part's script and style when an element wants it. Addresses come from <html data-static-…>, hashed by the server.
const PARTS = [
  ["[data-job]", "job", false],
  ["[data-journal]", "journal", false],
  ["[data-terminal]", "terminal", true],
  ["[data-charts]", "charts", true],
];
const styles = new Map();

export function loadParts(within) {
  for (const [selector, name, styled] of PARTS) {
    const found = [...within.querySelectorAll(selector)];
    if (within instanceof Element && within.matches(selector)) found.push(within);
    if (found.length) load(name, styled, found);
  }
}

async function load(name, styled, elements) {
  const addresses = document.documentElement.dataset;
  const key = name[0].toUpperCase() + name.slice(1);
  const [part] = await Promise.all([
    import(addresses[`static${key}`]),
    styled ? stylesheet(addresses[`static${key}Css`]) : null,
  ]);
  for (const element of elements) if (element.isConnected) part.mount(element);
}

function stylesheet(href) {
  if (!styles.has(href)) {
    const link = document.createElement("link");
    link.rel = "stylesheet";
    link.href = href;
    styles.set(href, new Promise((resolve) => (link.onload = link.onerror = resolve)));
    document.head.append(link);
  }
  return styles.get(href);
}
