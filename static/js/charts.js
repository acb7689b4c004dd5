// Small charts with one cursor for all of them. Limits are lines, gaps are gaps; the figures are in the words of units.js.
import uPlot from "uplot";
import { UNITS } from "./units.js";

const EVERY_MS = 5000;
/** Names that have a sign: a small chart has little room beside its title. */
const SIGNS = { in: "↓", out: "↑" };
const mounted = new WeakSet();
let groups = 0;

export function mount(root) {
  if (mounted.has(root)) return;
  mounted.add(root);
  new Charts(root).begin();
}

class Charts {
  constructor(root) {
    this.root = root;
    this.minutes = Number(root.dataset.minutes);
    this.sync = `charts-${++groups}`;
    this.charts = [...root.querySelectorAll("[data-chart]")].map((figure) => new Chart(figure, this.sync));
  }

  async begin() {
    this.themed = () => this.charts.forEach((chart) => chart.rebuild());
    this.shown = () => document.hidden || this.poll();
    document.addEventListener("theme", this.themed);
    document.addEventListener("visibilitychange", this.shown);
    this.resizer = new ResizeObserver(() => this.charts.forEach((chart) => chart.resize()));
    this.resizer.observe(this.root);
    await this.poll();
    this.timer = setInterval(() => this.poll(), EVERY_MS);
  }

  async poll() {
    if (!this.root.isConnected) return this.end();
    if (document.hidden || this.asking) return;
    this.asking = true;
    try {
      const answer = await fetch(`${this.root.dataset.charts}?minutes=${this.minutes}`, { headers: { Accept: "application/json" } });
      if (answer.ok && !answer.redirected) this.take(await answer.json());
    } catch {
      // Not reachable for the moment: the gap will show, and the next poll tries again.
    } finally {
      this.asking = false;
    }
  }

  take(data) {
    const now = Date.now() / 1000;
    for (const chart of this.charts) chart.take(data, now - this.minutes * 60, now);
  }

  end() {
    clearInterval(this.timer);
    document.removeEventListener("theme", this.themed);
    document.removeEventListener("visibilitychange", this.shown);
    this.resizer.disconnect();
    this.charts.forEach((chart) => chart.plot?.destroy());
  }
}

class Chart {
  constructor(figure, sync) {
    this.figure = figure;
    this.keys = figure.dataset.series.split(",");
    this.names = figure.dataset.names.split(",");
    this.unit = UNITS[figure.dataset.unit] ?? UNITS.count;
    this.limitKey = figure.dataset.limit;
    this.place = figure.querySelector("[data-chart-plot]");
    this.now = figure.querySelector("[data-chart-now]");
    this.sync = sync;
    this.range = [0, 1];
    /** The topmost labelled value: a round one. */
    this.most = 1;
    this.limit = null;
    this.data = null;
  }

  take(data, from, to) {
    this.range = [from, to];
    this.limit = data.limits?.[this.limitKey] ?? null;
    this.data = [data.at, ...this.keys.map((key) => data[key] ?? data.at.map(() => null))];
    if (this.plot) this.plot.setData(this.data);
    else this.rebuild();
    this.tell();
  }

  rebuild() {
    if (!this.data) return;
    this.plot?.destroy();
    const style = getComputedStyle(this.figure);
    this.colour = (name) => style.getPropertyValue(name).trim();
    this.plot = new uPlot(this.options(), this.data, this.place);
  }

  resize() {
    const width = this.place.clientWidth;
    if (this.plot && width && width !== this.plot.width) this.plot.setSize({ width, height: this.place.clientHeight });
  }

  options() {
    const font = `11px ${getComputedStyle(document.body).fontFamily}`;
    const axis = { stroke: this.colour("--text-3"), font, ticks: { show: false }, grid: { stroke: this.colour("--line"), width: 1 } };
    return {
      width: this.place.clientWidth,
      height: this.place.clientHeight,
      padding: [8, 16, 0, 0],
      legend: { show: false },
      cursor: { sync: { key: this.sync }, drag: { x: false, y: false }, points: { size: 6 } },
      scales: { x: { range: () => this.range }, y: { range: (_, low, high) => [0, this.top(high)] } },
      axes: [
        { ...axis, grid: { show: false }, size: 22, space: 70, values: (_, values) => values.map((value) => clock(value)) },
        { ...axis, size: this.unit.wide ?? 32, values: (_, values) => values.map((value) => this.unit.short(value)), splits: () => [0, this.most / 2, this.most] },
      ],
      series: [{}, ...this.keys.map((_, index) => this.series(index))],
      hooks: { draw: [(plot) => this.drawLimit(plot)], setCursor: [(plot) => this.tell(plot.cursor.idx)] },
    };
  }

  series(index) {
    const stroke = this.colour(index ? "--series-2" : "--series-1");
    return { stroke, width: 1.5, fill: index || this.keys.length > 1 ? undefined : `${stroke}1c`, spanGaps: false, points: { show: false } };
  }

  /** The top of the scale. The limit is in it as soon as the values come near; far below it, it would flatten them. */
  top(high) {
    const most = Math.max(high || 0, this.unit.least ?? 0);
    const near = this.limit && most > this.limit * 0.2;
    this.most = this.unit.round(near ? Math.max(most, this.limit) : most);
    return this.most * 1.06;
  }

  drawLimit(plot) {
    if (!this.limit || this.limit > plot.scales.y.max) return;
    const { ctx, bbox } = plot;
    const y = Math.round(plot.valToPos(this.limit, "y", true)) + 0.5;
    ctx.save();
    ctx.strokeStyle = this.colour("--bad");
    ctx.setLineDash([4, 3].map((size) => size * devicePixelRatio));
    ctx.lineWidth = devicePixelRatio;
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
    ctx.restore();
  }

  /** The value under the cursor, else the newest. */
  tell(index = null) {
    if (!this.data[0].length) return this.now.replaceChildren("No figures yet");
    const last = index ?? this.data[0].length - 1;
    const parts = this.keys.map((_, i) => this.words(i, this.data[i + 1][last]));
    if (this.limit) parts[parts.length - 1].append(` of ${this.unit(this.limit)}`);
    if (index !== null) parts.unshift(span("", clock(this.data[0][last], true)));
    this.now.replaceChildren(...parts);
  }

  words(i, value) {
    const figure = value === null || value === undefined ? "–" : this.unit(value);
    return this.keys.length > 1 ? span("chart-key", `${SIGNS[this.names[i]] ?? this.names[i]} ${figure.replace(/(\d\.\d)\d\b/, "$1")}`) : span("", figure);
  }
}

function span(css, text) {
  const made = document.createElement("span");
  made.className = css;
  made.textContent = text;
  return made;
}

function clock(seconds, exact = false) {
  const at = new Date(seconds * 1000);
  return at.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", ...(exact ? { second: "2-digit" } : {}) });
}
