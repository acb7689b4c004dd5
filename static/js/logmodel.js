// The lines of a log view, which of them are shown, and where each begins. Knows no page, so that it can be tested alone.
import { columns } from "./ansi.js";

/** Most lines that a browser should hold; the oldest go first. */
export const CAP = 200_000;
const DROP = 20_000;

export class LogModel {
  constructor({ cap = CAP } = {}) {
    this.cap = cap;
    this.lines = [];
    /** Lines dropped at the top: line i has the number dropped + i + 1. */
    this.dropped = 0;
    this.accept = null;
    /** Indices into `lines` of what passes the filter; null: all. */
    this.passing = null;
    this.wrapColumns = 0;
    /** Rows before each shown line, in wrap mode; one longer than what is shown. */
    this.starts = [0];
  }

  /** Append {text, meta?, css?}. Returns how many lines fell off the top of what is shown. */
  add(lines) {
    for (const line of lines) {
      this.lines.push(line);
      const index = this.lines.length - 1;
      if (this.passing && this.accept(line)) this.passing.push(index);
      if (!this.passing || this.passing[this.passing.length - 1] === index) this.measure(line);
    }
    return this.lines.length > this.cap ? this.trim() : 0;
  }

  trim() {
    const count = this.lines.length - this.cap + Math.min(DROP, this.cap >> 1);
    const shownBefore = this.shown;
    this.lines.splice(0, count);
    this.dropped += count;
    if (this.passing) this.passing = this.passing.filter((index) => index >= count).map((index) => index - count);
    this.remeasure();
    return shownBefore - this.shown;
  }

  clear() {
    this.lines = [];
    this.dropped = 0;
    if (this.passing) this.passing = [];
    this.starts = [0];
  }

  /** Show only lines for which `accept(line)`; null shows all. */
  filter(accept) {
    this.accept = accept;
    this.passing = null;
    if (accept) {
      this.passing = [];
      this.lines.forEach((line, index) => accept(line) && this.passing.push(index));
    }
    this.remeasure();
  }

  /** `count` > 0: lines wrap at so many columns; 0: they do not. */
  wrap(count) {
    if (count === this.wrapColumns) return;
    this.wrapColumns = count;
    this.remeasure();
  }

  remeasure() {
    this.starts = [0];
    if (this.wrapColumns) for (let i = 0; i < this.shown; i++) this.measure(this.at(i));
  }

  measure(line) {
    if (!this.wrapColumns) return;
    const wide = Math.max(4, this.wrapColumns - (line.meta?.length ?? 0));
    const rows = Math.max(1, Math.ceil(columns(line.text) / wide));
    this.starts.push(this.starts[this.starts.length - 1] + rows);
  }

  get shown() {
    return this.passing ? this.passing.length : this.lines.length;
  }

  /** The shown line at a position. */
  at(position) {
    return this.lines[this.passing ? this.passing[position] : position];
  }

  /** Its number, from 1, which does not change as lines are dropped. */
  number(position) {
    return this.dropped + (this.passing ? this.passing[position] : position) + 1;
  }

  /** Where the line of a number is shown; -1 if it is not. */
  position(number) {
    const index = number - this.dropped - 1;
    if (!this.passing) return index >= 0 && index < this.lines.length ? index : -1;
    return this.passing.indexOf(index);
  }

  get rows() {
    return this.wrapColumns ? this.starts[this.shown] : this.shown;
  }

  rowOf(position) {
    return this.wrapColumns ? this.starts[position] : position;
  }

  /** The shown position whose rows hold `row`. */
  atRow(row) {
    if (!this.wrapColumns) return Math.max(0, Math.min(this.shown - 1, Math.floor(row)));
    let low = 0;
    let high = Math.max(0, this.shown - 1);
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.starts[middle] <= row) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** Shown positions whose text holds `needle`, without regard to case. */
  find(needle) {
    const wanted = needle.toLowerCase();
    const found = [];
    if (wanted) for (let i = 0; i < this.shown; i++) if (holds(this.at(i), wanted)) found.push(i);
    return found;
  }

  text() {
    const out = [];
    for (let i = 0; i < this.shown; i++) out.push(`${this.at(i).meta ?? ""}${this.at(i).text}`);
    return `${out.join("\n")}\n`;
  }
}

export function holds(line, lowered) {
  return line.text.toLowerCase().includes(lowered) || (line.meta?.toLowerCase().includes(lowered) ?? false);
}
