// Every pair of text and ground in tokens.css keeps WCAG AA: 4.5 to 1 for text, 3 to 1 for the borders of fields.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

const css = readFileSync(new URL("../../../static/css/tokens.css", import.meta.url), "utf8");

function tokens(pattern) {
  const block = pattern.exec(css)[1];
  return Object.fromEntries([...block.matchAll(/(--[\w-]+):\s*(#[0-9a-f]{6});/g)].map(([, name, value]) => [name, value]));
}

function luminance(hex) {
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function contrast(one, other) {
  const [high, low] = [luminance(one), luminance(other)].sort((a, b) => b - a);
  return (high + 0.05) / (low + 0.05);
}

const TEXT = ["--text", "--text-2", "--text-3", "--accent-text"];
const GROUND = ["--canvas", "--surface", "--sunken", "--hover"];
const PAIRS = [
  ...TEXT.flatMap((text) => GROUND.map((ground) => [text, ground])),
  ...["--ok", "--warn", "--bad"].flatMap((tone) => [...GROUND, `${tone}-soft`].map((ground) => [tone, ground])),
  ...["--ok-soft", "--warn-soft", "--bad-soft", "--accent-soft"].flatMap((ground) => [["--text", ground], ["--text-2", ground]]),
  ["--accent-text", "--accent-soft"],
  ["--on-accent", "--accent"],
  ["--on-accent", "--accent-hover"],
  ["--on-bad", "--bad-fill"],
  ["--on-mark", "--mark"],
];

const light = tokens(/^:root \{([\s\S]*?)^\}/m);
const dark = tokens(/^:root\[data-theme="dark"\] \{([\s\S]*?)^\}/m);
const auto = tokens(/:root:not\(\[data-theme="light"\]\) \{([\s\S]*?)\n {2}\}/);

for (const [name, theme] of [["light", light], ["dark", { ...light, ...dark }]]) {
  test(`${name}: text stands out from every ground`, () => {
    const weak = PAIRS.map(([text, ground]) => [text, ground, contrast(theme[text], theme[ground])]).filter(([, , ratio]) => ratio < 4.5);
    assert.deepEqual(weak, []);
  });
}

test("the dark theme is the same by switch and by system", () => assert.deepEqual(auto, dark));

test("terminal text stands out", () => {
  for (const text of ["--term-text", "--term-2"]) assert.ok(contrast(light[text], light["--term-bg"]) >= 4.5);
});
