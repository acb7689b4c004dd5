// Figures in words: sizes in GiB, rates in MB/s, CPU in cores. Each unit has `short` (an axis), `round` (a round figure not
// below a value) and `least` (a scale shows at least so much), `wide` (px of an axis).
const SIZES = [
  [2 ** 40, "TiB"],
  [2 ** 30, "GiB"],
  [2 ** 20, "MiB"],
  [1024, "KiB"],
  [1, "B"],
];
const RATES = [
  [1e9, "GB/s"],
  [1e6, "MB/s"],
  [1e3, "kB/s"],
  [1, "B/s"],
];

/** Three figures, without idle zeros. */
function figure(value) {
  return String(Number(Math.abs(value) < 1 ? value.toFixed(2) : value.toPrecision(3)));
}

function scaled(value, steps) {
  if (!value) return "0";
  const [factor, unit] = steps.find(([size]) => Math.abs(value) >= size) ?? steps[steps.length - 1];
  return `${figure(value / factor)} ${unit}`;
}

function roundUp(value, base) {
  const power = base ** Math.floor(Math.log(value) / Math.log(base));
  const steps = base === 10 ? [1, 2, 4, 5, 8, 10] : [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];
  return steps.map((step) => step * power).find((round) => round >= value * 0.9999) ?? value;
}

const decimal = (value) => roundUp(value, 10);
const binary = (value) => roundUp(value, 1024);
const unit = (words, more) => Object.assign(words, { short: words, round: decimal }, more);

export const UNITS = {
  cores: unit((value) => `${figure(value)} ${value === 1 ? "core" : "cores"}`, { least: 0.1, short: figure }),
  bytes: unit((value) => scaled(value, SIZES), { least: 16 * 2 ** 20, round: binary, wide: 52 }),
  rate: unit((value) => scaled(value, RATES), { least: 1000, wide: 58 }),
  count: unit(figure, { least: 4 }),
};
