// A job's page while it runs: steps tick, progress moves, output flows, commands appear. Without gap: events have numbers.
import { plain } from "./ansi.js";
import { element, icon } from "./icons.js";
import { LogView } from "./logview.js";
import { Socket } from "./socket.js";
import { Steps } from "./steps.js";

const OVER = new Set(["succeeded", "failed", "cancelled"]);
const mounted = new WeakSet();

export function mount(root) {
  if (mounted.has(root)) return;
  mounted.add(root);
  new JobPage(root);
}

class JobPage {
  constructor(root) {
    this.root = root;
    this.after = Number(root.dataset.after ?? 0);
    this.state = root.dataset.state;
    const log = root.querySelector("[data-log]");
    this.log = log ? new LogView(log, { linkLines: true }) : null;
    this.steps = new Steps(root);
    this.rendered = root.querySelectorAll("[data-commands] .command").length;
    this.firstBatch = true;
    this.socket = new Socket(`/ws/jobs/${root.dataset.job}/`, {
      open: (socket) => socket.send({ after: this.after }),
      text: (message) => this.take(message),
      down: () => this.log?.status("Reconnecting…"),
      final: (code, reason) => this.log?.status(code === 1000 ? "" : reason || "The output is not available."),
    });
    this.ticker = setInterval(() => this.tick(), 1000);
  }

  take({ events, state, waiting }) {
    if (events === undefined) return;
    const fresh = events.filter(({ seq }) => seq > this.after);
    if (fresh.length) this.after = fresh[fresh.length - 1].seq;
    this.log?.add(fresh.flatMap((event) => this.linesOf(event)));
    for (const event of fresh) this.steps.apply(event);
    this.log?.status(waiting || this.counted());
    if (this.firstBatch && this.log && location.hash) requestAnimationFrame(() => this.log.toHash());
    this.firstBatch = this.firstBatch && !fresh.length;
    if (state !== this.state) this.changed(state);
    if (OVER.has(state)) this.steps.close(state);
    if (OVER.has(state) && this.log) this.log.part("empty").textContent = "This job said nothing.";
  }

  linesOf({ type, data }) {
    if (type === "output") return data.lines.map((line) => ({ text: plain(line) }));
    if (type === "command") {
      this.addCommand(data.line);
      return [{ text: `# ${plain(data.line)}`, css: "log-step" }];
    }
    return [];
  }

  counted() {
    const count = this.log.model.dropped + this.log.model.lines.length;
    return count ? `${count.toLocaleString("en")} line${count === 1 ? "" : "s"}` : "";
  }

  /** Commands show as they run, in the markup of components/command.html. The first ones the server has rendered. */
  addCommand(line) {
    const place = this.root.querySelector("[data-commands]");
    if (!place || this.rendered-- > 0) return;
    const text = element("span", "command-line", line);
    text.dataset.prompt = "#";
    const code = element("code", "", text);
    code.dataset.copySource = "";
    const pre = element("pre", "", code);
    pre.tabIndex = 0;
    const copy = element("button", "btn btn-quiet btn-icon btn-small", icon("copy", "when-off"), icon("check", "when-on"));
    copy.type = "button";
    copy.dataset.copy = "";
    copy.setAttribute("aria-label", "Copy command");
    place.append(element("div", "command command-wrap", pre, copy));
    place.querySelector("[data-commands-empty]")?.remove();
  }

  /** Another state: the page's head, made by the server, says it in its own words. */
  changed(state) {
    this.state = state;
    this.root.dataset.state = state;
    this.root.dispatchEvent(new CustomEvent("job-state", { bubbles: true, detail: { state } }));
  }

  tick() {
    if (!this.root.isConnected) return this.leave();
    this.steps.tick();
  }

  leave() {
    clearInterval(this.ticker);
    this.socket.close();
    this.log?.destroy();
  }
}
