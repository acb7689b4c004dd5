// Figures in words: sizes in GiB, rates in MB/s, CPU in cores. `least`: a scale shows at least so much.
function scaled(value, steps) {
  const [factor, unit] = steps.find(([size]) => Math.abs(value) >= size) ?? steps[steps.length - 1];
  const amount = value / factor;
  return `${amount === 0 ? 0 : amount.toFixed(amount >= 100 || Number.isInteger(amount) ? 0 : amount >= 10 ? 1 : 2)} ${unit}`;
}

const SIZES = [
  [2 ** 40, "TiB"],
  [2 ** 30, "GiB"],
  [2 ** 20, "MiB"],
  [1024, "KiB"],
];
const RATES = [
  [1e6, "MB/s"],
  [1e3, "kB/s"],
  [1, "B/s"],
];

export const UNITS = {
  cores: Object.assign((value) => `${value.toFixed(value >= 10 ? 1 : 2)} cores`, { least: 0.1 }),
  bytes: Object.assign((value) => scaled(value, SIZES), { least: 16 * 2 ** 20 }),
  rate: Object.assign((value) => scaled(value, RATES), { least: 1000 }),
  count: Object.assign((value) => (Number.isInteger(value) ? String(value) : value.toFixed(value < 10 ? 1 : 0)), { least: 4 }),
};
