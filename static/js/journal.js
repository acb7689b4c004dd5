// A container's journal: follows, and after a cut goes on at its cursor, without gap or repeat. Filters work in the browser.
import { plain } from "./ansi.js";
import { LogView, press } from "./logview.js";
import { Socket } from "./socket.js";

const LINES = 1000;
const PAUSE_MAX = 50_000;
const NARROW_PX = 640;
const TIME = { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false };
/** Words of syslog's priorities; what is plain information has none. */
const PRIORITIES = ["emerg", "alert", "crit", "error", "warn", "note", "", "debug"];
const mounted = new WeakSet();

export function mount(root) {
  if (mounted.has(root)) return;
  mounted.add(root);
  new JournalPage(root);
}

class JournalPage {
  constructor(root) {
    this.root = root;
    this.view = new LogView(root, { gutter: false });
    this.source = "container";
    this.units = new Set();
    const narrow = root.clientWidth < NARROW_PX;
    this.whoWidth = narrow ? 12 : 24;
    this.clock = new Intl.DateTimeFormat("en-GB", narrow ? TIME : { day: "2-digit", month: "short", ...TIME });
    this.bind();
    this.begin();
    this.watch = setInterval(() => root.isConnected || this.end(), 2000);
  }

  bind() {
    for (const button of this.root.querySelectorAll("[data-log-source]")) {
      button.addEventListener("click", () => this.choose(button));
    }
    this.view.part("priority").addEventListener("change", () => this.refilter());
    this.view.part("unit").addEventListener("change", () => this.refilter());
    this.view.part("pause").addEventListener("click", (event) => this.pause(press(event.currentTarget)));
  }

  begin() {
    this.cursor = "";
    this.held = null;
    this.socket = new Socket(this.root.dataset.journal, {
      open: (socket) => socket.send({ source: this.source, cursor: this.cursor, lines: LINES }),
      text: (message) => this.take(message),
      down: () => this.view.status("Reconnecting… The journal goes on where it was."),
      final: (code, reason) => this.view.status(reason || "The journal has ended."),
    });
  }

  take(message) {
    if (message.entries) this.entries(message.entries);
    if (message.following) this.view.status(this.source === "console" ? "Live: the console, as the host saw it" : "Live: the container's own journal");
    if (message.offline) this.view.status(message.offline);
    if (message.skipped) this.view.add([{ text: `${message.skipped.toLocaleString("en")} lines were skipped: they came faster than this page could take them.`, css: "log-step", priority: 0, unit: "" }]);
  }

  entries(entries) {
    if (!entries.length) return;
    this.cursor = entries[entries.length - 1].cursor;
    const lines = entries.flatMap((entry) => this.linesOf(entry));
    if (this.held) {
      this.held.push(...lines);
      if (this.held.length > PAUSE_MAX) this.held.splice(0, this.held.length - PAUSE_MAX);
      this.view.status(`Paused: ${this.held.length.toLocaleString("en")} new lines wait.`);
    } else {
      this.view.add(lines);
    }
  }

  linesOf({ at, priority, unit, ident, pid, message }) {
    this.know(unit);
    const who = fit(plain(ident ? `${ident}${pid ? `[${pid}]` : ""}` : unit), this.whoWidth);
    const when = this.clock.format(at / 1000).replace(",", "");
    const meta = `${when}  ${who}  ${(PRIORITIES[priority] ?? "").padEnd(5)}  `;
    const blank = " ".repeat(meta.length);
    const css = `log-p${priority}`;
    const made = String(message).split("\n");
    return made.map((text, index) => ({ text: plain(text), meta: index ? blank : meta, css, priority, unit }));
  }

  know(unit) {
    if (!unit || this.units.has(unit) || this.units.size > 300) return;
    this.units.add(unit);
    const select = this.view.part("unit");
    const option = new Option(plain(unit), unit);
    const after = [...select.options].slice(1).find((one) => one.value > unit);
    select.add(option, after ?? null);
  }

  refilter() {
    const most = Number(this.view.part("priority").value);
    const unit = this.view.part("unit").value;
    const all = most === 7 && !unit;
    this.view.only(all ? null : (line) => line.priority <= most && (!unit || line.unit === unit));
  }

  pause(on) {
    const button = this.view.part("pause");
    button.title = on ? "Go on" : "Pause";
    button.setAttribute("aria-label", button.title);
    if (on) {
      this.held = [];
      this.view.status("Paused.");
    } else {
      const lines = this.held;
      this.held = null;
      this.view.add(lines);
      this.view.status("Live");
    }
  }

  choose(button) {
    if (button.dataset.logSource === this.source) return;
    for (const one of this.root.querySelectorAll("[data-log-source]")) one.setAttribute("aria-pressed", String(one === button));
    this.source = button.dataset.logSource;
    this.socket.close();
    if (this.held) {
      press(this.view.part("pause"));
      this.held = null;
    }
    this.view.clear();
    this.view.part("unit").value = "";
    this.refilter();
    this.view.setFollowing(true);
    this.view.status("Connecting…");
    this.begin();
  }

  end() {
    clearInterval(this.watch);
    this.socket.close();
    this.view.destroy();
  }
}

/** Exactly `width` columns, so that the messages stand below one another. */
function fit(text, width) {
  return text.length > width ? `${text.slice(0, width - 1)}…` : text.padEnd(width);
}
