// Log text is data: escape sequences are taken out, other control characters are shown as their pictures.

// CSI … final; OSC, DCS, SOS, PM, APC … BEL or ST; two-byte escapes; a lone ESC at the end of a cut line.
// eslint-disable-next-line no-control-regex
const ESCAPES = /\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\|$)|\x1b[ -/]*[0-~]|\x9b[0-?]*[ -/]*[@-~]/g;
// eslint-disable-next-line no-control-regex
const CONTROLS = /[\x00-\x08\x0b-\x1f\x7f]/g;
// Characters that reorder or hide text (bidirectional overrides, zero width): shown by their number.
const TRICKS = /[\u202a-\u202e\u2066-\u2069\u200b-\u200f\u2028\u2029\ufeff]/g;

/** One line as plain text. After a carriage return only what was written last is kept, as a terminal would show it. */
export function plain(line) {
  let text = String(line).replace(ESCAPES, "");
  if (text.includes("\r")) {
    const parts = text.split("\r").filter((part) => part !== "");
    text = parts.length ? parts[parts.length - 1] : "";
  }
  if (text.includes("\t")) text = untab(text);
  return text.replace(CONTROLS, picture).replace(TRICKS, (char) => `<U+${char.charCodeAt(0).toString(16).toUpperCase()}>`);
}

function untab(text) {
  let column = 0;
  let out = "";
  for (const char of text) {
    const add = char === "\t" ? " ".repeat(8 - (column % 8)) : char;
    out += add;
    column += add.length;
  }
  return out;
}

function picture(char) {
  const code = char.charCodeAt(0);
  return code === 0x7f ? "\u2421" : String.fromCharCode(0x2400 + code);
}

/** Columns that a text takes in a mono font: East Asian wide characters and emoji take two. */
export function columns(text) {
  // eslint-disable-next-line no-control-regex
  if (/^[\x20-\x7e]*$/.test(text)) return text.length;
  let count = 0;
  for (const char of text) {
    const code = char.codePointAt(0);
    const wide = (code >= 0x1100 && code <= 0x115f) || (code >= 0x2e80 && code <= 0xa4cf) || (code >= 0xac00 && code <= 0xd7a3) || (code >= 0xf900 && code <= 0xfaff) || (code >= 0xfe30 && code <= 0xfe6f) || (code >= 0xff00 && code <= 0xff60) || code >= 0x1f300;
    count += wide ? 2 : 1;
  }
  return count;
}
