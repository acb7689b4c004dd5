// Draws a LogModel: only the lines in sight are in the page, so 100,000 lines are as light as a hundred.
import { copyText } from "./copytext.js";
import { LogModel, holds } from "./logmodel.js";

const ROW = 20;
const OVER = 24;

export class LogView {
  /** root: the [data-log] element. options.linkLines: a click on a number copies a link to the line. */
  constructor(root, { linkLines = false, gutter = true } = {}) {
    this.root = root;
    this.model = new LogModel();
    this.linkLines = linkLines;
    this.gutter = gutter;
    this.view = root.querySelector("[data-log-view]");
    this.space = root.querySelector("[data-log-space]");
    this.lines = document.createElement("div");
    this.lines.className = "log-lines";
    this.space.replaceChildren(this.lines);
    this.following = true;
    this.fresh = 0;
    this.needle = "";
    this.hits = [];
    this.hit = -1;
    this.extra = null;
    this.bind();
  }

  part(name) {
    return this.root.querySelector(`[data-log-${name}]`);
  }

  bind() {
    this.view.addEventListener("scroll", () => this.onScroll(), { passive: true });
    this.part("follow").addEventListener("click", () => this.follow(true));
    this.part("wrap").addEventListener("click", (event) => this.toggleWrap(event.currentTarget));
    this.part("filter").addEventListener("click", (event) => {
      press(event.currentTarget);
      this.refilter();
    });
    this.part("save").addEventListener("click", () => this.save());
    const search = this.part("search");
    search.addEventListener("input", () => this.search(search.value));
    search.addEventListener("keydown", (event) => this.onSearchKey(event));
    this.lines.addEventListener("click", (event) => this.onLine(event));
    this.view.addEventListener("keydown", (event) => this.onKey(event));
    this.resizer = new ResizeObserver(() => this.onResize());
    this.resizer.observe(this.view);
    addEventListener("hashchange", () => this.toHash());
  }

  add(lines) {
    const lost = this.model.add(lines);
    if (lost && !this.following) this.view.scrollTop = Math.max(0, this.view.scrollTop - lost * ROW);
    if (!this.following) this.fresh += lines.length;
    this.later();
  }

  clear() {
    this.model.clear();
    this.fresh = 0;
    this.later();
  }

  /** Another condition on lines, beside the search's filter; null: none. */
  only(accept) {
    this.extra = accept;
    this.refilter();
  }

  refilter() {
    const matching = this.part("filter").getAttribute("aria-pressed") === "true" && this.needle;
    const { extra, needle } = this;
    const accept = matching ? (line) => holds(line, needle) && (!extra || extra(line)) : extra;
    const { model, view } = this;
    // Who reads somewhere stays there: at the hit, else at the topmost line.
    const reading = this.hits[this.hit] ?? model.atRow(view.scrollTop / ROW);
    const number = !this.following && model.shown ? model.number(reading) : 0;
    model.filter(accept);
    if (this.following) this.toEnd();
    else if (number) this.stayAt(number);
    this.research();
    this.later();
  }

  /** The line of a number, or the next one that is shown, comes to the upper third. */
  stayAt(number) {
    let position = 0;
    while (position < this.model.shown - 1 && this.model.number(position) < number) position++;
    this.space.style.height = `${this.model.rows * ROW}px`;
    this.moved = true;
    this.view.scrollTop = Math.max(0, this.model.rowOf(position) * ROW - this.view.clientHeight / 3);
    if (this.hit >= 0 && this.needle) this.hit = this.model.find(this.needle).indexOf(position);
  }

  /** At most one drawing a frame, whatever arrives. */
  later() {
    this.drawing ??= requestAnimationFrame(() => {
      this.drawing = null;
      this.draw();
    });
  }

  draw() {
    const { model, view } = this;
    if (!this.root.isConnected || !view.clientHeight) return;
    this.space.style.height = `${model.rows * ROW}px`;
    if (this.following) this.toEnd();
    const first = Math.max(0, model.atRow(view.scrollTop / ROW) - OVER);
    const last = Math.min(model.shown, model.atRow((view.scrollTop + view.clientHeight) / ROW) + OVER + 1);
    const made = document.createDocumentFragment();
    for (let i = first; i < last; i++) made.append(this.line(i));
    this.lines.style.transform = `translateY(${model.rowOf(first) * ROW}px)`;
    this.lines.replaceChildren(made);
    this.part("empty").hidden = model.shown > 0;
    this.tellFollow();
    if (this.needle) this.research();
  }

  line(position) {
    const line = this.model.at(position);
    const number = this.model.number(position);
    const made = document.createElement("div");
    made.className = `log-line ${line.css ?? ""}`;
    if (this.target === number || this.hits[this.hit] === position) made.classList.add("is-target");
    if (this.gutter) {
      const gutter = document.createElement("button");
      gutter.type = "button";
      gutter.tabIndex = -1;
      gutter.className = "log-n";
      gutter.textContent = number;
      gutter.title = this.linkLines ? "Copy a link to this line" : "Copy this line";
      gutter.dataset.number = number;
      made.append(gutter);
    }
    if (line.meta) made.append(span("log-meta", line.meta));
    made.append(this.marked(line.text));
    return made;
  }

  marked(text) {
    const made = span("log-text", "");
    if (!this.needle) {
      made.textContent = text || " ";
      return made;
    }
    const low = text.toLowerCase();
    let from = 0;
    for (let at = low.indexOf(this.needle); at >= 0; at = low.indexOf(this.needle, from)) {
      const mark = document.createElement("mark");
      mark.textContent = text.slice(at, at + this.needle.length);
      made.append(text.slice(from, at), mark);
      from = at + this.needle.length;
    }
    made.append(text.slice(from));
    return made;
  }

  // --- following ---

  toEnd() {
    this.space.style.height = `${this.model.rows * ROW}px`;
    this.moved = true;
    this.view.scrollTop = this.view.scrollHeight;
  }

  onScroll() {
    const { view } = this;
    if (view.scrollHeight <= view.clientHeight) return this.later(); // nothing to scroll says nothing
    const atEnd = view.scrollTop + view.clientHeight >= view.scrollHeight - ROW;
    if (this.moved) this.moved = false;
    else if (atEnd !== this.following) this.setFollowing(atEnd);
    this.later();
  }

  follow(on) {
    this.setFollowing(on);
    if (on) this.toEnd();
    this.later();
  }

  setFollowing(on) {
    this.following = on;
    this.fresh = 0;
    this.tellFollow();
  }

  tellFollow() {
    const button = this.part("follow");
    button.setAttribute("aria-pressed", String(this.following));
    const words = this.following ? "Following" : this.fresh ? `${this.fresh.toLocaleString("en")} new` : "Follow";
    const label = button.querySelector("span");
    if (label.textContent !== words) label.textContent = words;
  }

  // --- wrapping ---

  toggleWrap(button) {
    const on = press(button);
    this.root.classList.toggle("log-wrapped", on);
    this.keepPlace(() => this.model.wrap(on ? this.wrapColumns() : 0));
  }

  onResize() {
    if (this.root.classList.contains("log-wrapped")) this.keepPlace(() => this.model.wrap(this.wrapColumns()));
    this.later();
  }

  keepPlace(change) {
    const top = this.model.atRow(this.view.scrollTop / ROW);
    change();
    this.space.style.height = `${this.model.rows * ROW}px`;
    if (!this.following && this.model.shown) this.view.scrollTop = this.model.rowOf(top) * ROW;
    this.later();
  }

  wrapColumns() {
    const probe = span("", "0".repeat(100));
    probe.className = "visually-hidden";
    this.view.append(probe);
    const range = document.createRange();
    range.selectNodeContents(probe);
    probe.classList.remove("visually-hidden");
    probe.style.position = "absolute";
    const width = range.getBoundingClientRect().width / 100;
    probe.remove();
    const gutter = this.lines.querySelector(".log-n")?.getBoundingClientRect().width ?? 12;
    return Math.max(8, Math.floor((this.view.clientWidth - gutter - 12) / width));
  }

  // --- searching ---

  search(text) {
    this.needle = text.toLowerCase();
    this.hit = -1;
    this.refilter();
    if (this.hits.length && !this.following) this.toHit(this.nearest());
    this.later();
  }

  research() {
    this.hits = this.needle ? this.model.find(this.needle) : [];
    const count = this.hits.length.toLocaleString("en");
    this.part("hits").textContent = !this.needle ? "" : this.hit >= 0 ? `${this.hit + 1}/${count}` : count;
  }

  nearest() {
    const top = this.model.atRow(this.view.scrollTop / ROW);
    const found = this.hits.findIndex((position) => position >= top);
    return found < 0 ? 0 : found;
  }

  toHit(index) {
    this.hit = (index + this.hits.length) % this.hits.length;
    this.show(this.hits[this.hit]);
    this.research();
  }

  onSearchKey(event) {
    if (event.key === "Enter" && this.hits.length) {
      event.preventDefault();
      this.toHit(this.hit < 0 ? this.nearest() : this.hit + (event.shiftKey ? -1 : 1));
    } else if (event.key === "Escape" && event.currentTarget.value) {
      event.preventDefault();
      event.currentTarget.value = "";
      this.search("");
    }
  }

  onKey(event) {
    if (event.key === "f" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      this.part("search").focus();
    } else if (event.key === "End") {
      this.follow(true);
    }
  }

  // --- lines ---

  show(position) {
    this.setFollowing(false);
    this.view.scrollTop = Math.max(0, this.model.rowOf(position) * ROW - this.view.clientHeight / 3);
    this.later();
  }

  onLine(event) {
    const button = event.target.closest(".log-n");
    if (!button) return;
    const number = Number(button.dataset.number);
    this.target = number;
    if (this.linkLines) {
      history.replaceState(null, "", `#L${number}`);
      copyText(location.href);
    } else {
      const line = this.model.at(this.model.position(number));
      copyText(`${line.meta ?? ""}${line.text}`);
    }
    this.status(this.linkLines ? `Link to line ${number} copied.` : `Line ${number} copied.`);
    this.later();
  }

  /** Go to the line that the address names, once it is there. */
  toHash() {
    const number = Number(/^#L(\d+)$/.exec(location.hash)?.[1] ?? 0);
    const position = number ? this.model.position(number) : -1;
    if (position < 0 || !this.linkLines) return;
    this.target = number;
    this.show(position);
  }

  status(text) {
    this.part("status").textContent = text || "\u00a0";
  }

  save() {
    const address = URL.createObjectURL(new Blob([this.model.text()], { type: "text/plain" }));
    const link = document.createElement("a");
    link.href = address;
    link.download = this.root.dataset.download;
    link.click();
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
  }

  destroy() {
    this.resizer.disconnect();
    cancelAnimationFrame(this.drawing);
  }
}

function span(css, text) {
  const made = document.createElement("span");
  made.className = css;
  made.textContent = text;
  return made;
}

/** Turn a toggle button; returns whether it is now on. */
export function press(button) {
  const on = button.getAttribute("aria-pressed") !== "true";
  button.setAttribute("aria-pressed", String(on));
  return on;
}
