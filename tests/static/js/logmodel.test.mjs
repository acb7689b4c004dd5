// The lines of a log view: numbers that stay, filters, wrapping, a cap.
import assert from "node:assert/strict";
import test from "node:test";
import { LogModel } from "../../../static/js/logmodel.js";

const lines = (count, from = 1) => Array.from({ length: count }, (_, i) => ({ text: `line ${from + i}` }));

test("lines have numbers from 1", () => {
  const model = new LogModel();
  model.add(lines(3));
  assert.equal(model.shown, 3);
  assert.equal(model.number(0), 1);
  assert.equal(model.position(3), 2);
  assert.equal(model.position(4), -1);
});

test("the oldest go first, and numbers stay", () => {
  const model = new LogModel({ cap: 100 });
  model.add(lines(90));
  assert.equal(model.add(lines(20, 91)), 60);
  assert.equal(model.shown, 50);
  assert.equal(model.at(0).text, "line 61");
  assert.equal(model.number(0), 61);
  assert.equal(model.position(60), -1);
});

test("a filter shows what passes, also of lines that come later", () => {
  const model = new LogModel();
  model.add(lines(20));
  model.filter((line) => line.text.endsWith("5"));
  assert.equal(model.shown, 2);
  model.add(lines(10, 21));
  assert.equal(model.shown, 3);
  assert.equal(model.number(2), 25);
  assert.equal(model.position(25), 2);
  assert.equal(model.position(24), -1);
  model.filter(null);
  assert.equal(model.shown, 30);
});

test("search finds text and meta without regard to case", () => {
  const model = new LogModel();
  model.add([{ text: "Error here" }, { text: "fine", meta: "sshd[7]: " }]);
  assert.deepEqual(model.find("ERROR"), [0]);
  assert.deepEqual(model.find("SSHD"), [1]);
  assert.deepEqual(model.find(""), []);
});

test("wrapped lines take the rows they need", () => {
  const model = new LogModel();
  model.add([{ text: "x".repeat(25) }, { text: "" }, { text: "y" }]);
  model.wrap(10);
  assert.equal(model.rows, 5);
  assert.equal(model.rowOf(1), 3);
  assert.equal(model.atRow(2.9), 0);
  assert.equal(model.atRow(3), 1);
  assert.equal(model.atRow(99), 2);
  model.add([{ text: "z".repeat(11) }]);
  assert.equal(model.rows, 7);
  model.filter((line) => line.text !== "");
  assert.equal(model.rows, 6);
});

test("200,000 lines are taken and searched in a moment", () => {
  const model = new LogModel();
  const begin = performance.now();
  for (let n = 0; n < 200; n++) model.add(lines(1000, n * 1000));
  model.wrap(40);
  assert.equal(model.find("line 19999").length, 11);
  assert.ok(performance.now() - begin < 3000);
});
