// xterm.js writes <style> elements and style attributes, which a strict Content-Security-Policy refuses. This stands in for
// `document`: style elements become constructed style sheets, style attributes become CSSOM. The bundler (build.mjs) puts
// it in the place of the global `document` in terminal.js, since xterm's own option documentOverride reaches only a part.

function stand(real) {
  return new Proxy(real, {
    get(target, name) {
      if (name === "createElement") return (tag, options) => create(target, tag, options);
      const value = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
    set: (target, name, value) => Reflect.set(target, name, value, target),
  });
}

function create(real, tag, options) {
  if (tag === "style") return sheetElement(real);
  const made = real.createElement(tag, options);
  if (tag === "span") made.setAttribute = setAttribute;
  return made;
}

function setAttribute(name, value) {
  if (name === "style") this.style.cssText = value;
  else Element.prototype.setAttribute.call(this, name, value);
}

export const strictDocument = stand(globalThis.document);

/** An empty element in the place of a <style>: its text goes to a sheet, which leaves together with it. */
function sheetElement(real) {
  const made = real.createElement("template");
  const sheet = new CSSStyleSheet();
  real.adoptedStyleSheets.push(sheet);
  Object.defineProperty(made, "textContent", {
    get: () => "",
    set: (text) => sheet.replaceSync(text),
  });
  made.remove = () => {
    real.adoptedStyleSheets = real.adoptedStyleSheets.filter((one) => one !== sheet);
    Element.prototype.remove.call(made);
  };
  return made;
}
