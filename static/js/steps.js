// The steps of a job, kept current from its events. The markup is that of templates/components/steps.html.
import { element, icon } from "./icons.js";

const ICONS = {
  pending: "circle-dashed",
  running: "loader-circle",
  done: "circle-check",
  skipped: "circle-minus",
  failed: "circle-x",
  stopped: "circle-stop",
};

/** Seconds in the words of the template filter `span`. */
export function span(seconds) {
  if (seconds < 10) return `${Math.max(0, seconds).toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

export class Steps {
  constructor(root) {
    this.list = root.querySelector("[data-steps]");
    /** Host's clock minus ours in ms, so that running times do not jump. */
    this.skew = 0;
  }

  apply({ type, at, data }) {
    if (!this.list) return;
    if (type === "started") for (const [key, title] of data.steps ?? []) this.row(key, title);
    if (type === "step") this.step(data, at);
    if (type === "progress") this.progress(data);
  }

  row(key, title) {
    const found = this.list.querySelector(`[data-step="${CSS.escape(key)}"]`);
    if (found) return found;
    const made = element(
      "li",
      "step step-pending",
      element("span", "step-mark", icon(ICONS.pending)),
      element("span", "step-title", title),
      element("span", "step-time num"),
      element("span", "step-detail"),
    );
    made.dataset.step = key;
    this.list.append(made);
    this.list.parentElement.querySelector(".skeleton")?.remove();
    return made;
  }

  step({ key, title, state }, at) {
    const row = this.row(key, title);
    row.className = `step step-${state}`;
    row.querySelector(".step-title").textContent = title;
    row.querySelector(".step-mark").replaceChildren(icon(ICONS[state] ?? "circle"));
    if (state === "running") {
      row.dataset.started = at;
      const behind = Date.now() - new Date(at);
      if (behind < 0) this.skew = -behind;
      return;
    }
    row.querySelector(".step-detail").replaceChildren();
    if (row.dataset.started && state !== "skipped") {
      row.querySelector(".step-time").textContent = span((new Date(at) - new Date(row.dataset.started)) / 1000);
    }
  }

  /** The job is over: a step that ran has ended with it, as the server would say. */
  close(state) {
    for (const row of this.list?.querySelectorAll(".step-running") ?? []) {
      const ended = { failed: "failed", cancelled: "stopped" }[state] ?? "done";
      row.className = `step step-${ended}`;
      row.querySelector(".step-mark").replaceChildren(icon(ICONS[ended]));
      row.querySelector(".step-detail").replaceChildren();
    }
    this.list?.parentElement.querySelector(".skeleton")?.remove();
  }

  progress({ step, fraction, text }) {
    const row = this.list.querySelector(`[data-step="${CSS.escape(step)}"].step-running`);
    if (!row) return;
    const detail = row.querySelector(".step-detail");
    let bar = detail.querySelector("progress");
    if (!bar) {
      bar = document.createElement("progress");
      bar.max = 1;
      bar.setAttribute("aria-label", row.querySelector(".step-title").textContent);
      detail.replaceChildren(element("div", "progress", bar, element("span", "progress-text")));
    }
    if (fraction === null || fraction === undefined) bar.removeAttribute("value");
    else bar.value = fraction;
    detail.querySelector(".progress-text").textContent = text;
  }

  tick() {
    for (const row of this.list?.querySelectorAll(".step-running[data-started]") ?? []) {
      const seconds = (Date.now() + this.skew - new Date(row.dataset.started)) / 1000;
      row.querySelector(".step-time").textContent = span(seconds < 10 ? Math.floor(seconds) : seconds).replace(".0 s", " s");
    }
  }
}
