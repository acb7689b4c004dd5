// Log text is data: nothing in it can hide, reorder or command.
import assert from "node:assert/strict";
import test from "node:test";
import { columns, plain } from "../../../static/js/ansi.js";

const CASES = [
  ["plain text stays", "E: could not resolve", "E: could not resolve"],
  ["colours go", "\x1b[1;31mred\x1b[0m text", "red text"],
  ["an 8-bit CSI goes", "a\x9b31mb", "ab"],
  ["a window title goes with its text", "\x1b]0;evil\x07shown", "shown"],
  ["a hyperlink keeps its words", "\x1b]8;;http://x/\x1b\\link\x1b]8;;\x1b\\", "link"],
  ["an unfinished title at the end of a line goes", "shown\x1b]0;evil", "shown"],
  ["a carriage return keeps what was written last", "10%\r50%\r100%", "100%"],
  ["a line that ends in a carriage return stays", "done\r", "done"],
  ["tabs reach the next stop", "a\tb", "a       b"],
  ["other control characters are shown as pictures", "a\x00b\x08c\x7f", "a\u2400b\u2408c\u2421"],
  ["a lone escape is shown", "a\x1b", "a\u241b"],
  ["text that reorders is shown by number", "a\u202eb", "a<U+202E>b"],
  ["markup stays text", "<img src=x>", "<img src=x>"],
];

for (const [name, line, wanted] of CASES) test(name, () => assert.equal(plain(line), wanted));

test("a hostile line of a megabyte takes no time", () => {
  const begin = performance.now();
  plain("\x1b]".repeat(250_000));
  plain("\x1b[".repeat(250_000));
  assert.ok(performance.now() - begin < 1000);
});

test("wide characters take two columns", () => {
  assert.equal(columns("abc"), 3);
  assert.equal(columns("日本"), 4);
  assert.equal(columns("é"), 1);
});
