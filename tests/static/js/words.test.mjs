// Figures and times in words, equal to those that the server writes.
import assert from "node:assert/strict";
import test from "node:test";
import { UNITS } from "../../../static/js/units.js";

test("sizes, rates, cores", () => {
  assert.equal(UNITS.bytes(1.5 * 2 ** 30), "1.5 GiB");
  assert.equal(UNITS.bytes(0), "0");
  assert.equal(UNITS.rate(1_830_000), "1.83 MB/s");
  assert.equal(UNITS.rate(460_000), "460 kB/s");
  assert.equal(UNITS.cores(0.0559), "0.06 cores");
  assert.equal(UNITS.cores(1), "1 core");
  assert.equal(UNITS.count(72), "72");
});

test("the top of an axis is round and not below the value", () => {
  for (const value of [0.03, 0.97, 1, 3.2, 17, 880, 1.2e6]) {
    for (const name of ["cores", "rate", "count", "bytes"]) assert.ok(UNITS[name].round(value) >= value * 0.999, `${name} ${value}`);
  }
  assert.equal(UNITS.bytes.round(214 * 2 ** 20), 256 * 2 ** 20);
  assert.equal(UNITS.cores.round(1.3), 2);
});
