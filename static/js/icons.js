// An icon of the sprite, for parts that scripts build.
const SVG = "http://www.w3.org/2000/svg";

export function icon(name, css = "") {
  const address = document.getElementById("toasts").dataset.icons;
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", `icon ${css}`);
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `${address}#${name}`);
  svg.append(use);
  return svg;
}

/** An element with classes and children; texts become text nodes, never markup. */
export function element(tag, css, ...children) {
  const made = document.createElement(tag);
  if (css) made.className = css;
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}
