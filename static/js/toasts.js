// Messages in the corner: from Django, from an answer's HX-Trigger, or from a script. Errors stay until closed.
import { element, icon } from "./icons.js";

const ICONS = { success: "circle-check", info: "info", warning: "triangle-alert", error: "circle-x" };
const WORDS = { success: "Done:", info: "Note:", warning: "Warning:", error: "Error:" };
const SHOWN_MS = 6000;
const MAX = 4;

/** `toast({text, more, level, url, label, undo})`: `undo` is an address that a button posts to. */
export function toast({ text, more = "", level = "info", url = "", label = "Show", undo = "", act = null }) {
  const place = document.getElementById("toasts");
  const kind = ICONS[level] ? level : "info";
  const body = element("div", "toast-text", element("p", "", element("span", "visually-hidden", `${WORDS[kind]} `), text));
  if (more) body.append(element("p", "", more));
  if (url) body.append(element("p", "", link(url, label)));
  if (undo) body.append(element("p", "", undoButton(undo)));
  if (act) body.append(element("p", "", actButton(act)));
  const made = element("div", `toast toast-${kind}`, icon(ICONS[kind]), body);
  const close = element("button", "btn btn-quiet btn-icon btn-tiny", icon("x"));
  close.type = "button";
  close.setAttribute("aria-label", "Close message");
  close.onclick = () => made.remove();
  made.append(close);
  place.append(made);
  while (place.querySelectorAll(".toast").length > MAX) place.querySelector(".toast").remove();
  if (kind !== "error") leaveLater(made);
  return made;
}

function link(url, label) {
  const made = element("a", "", label);
  const address = new URL(url, location.href);
  made.href = address.origin === location.origin ? address.href : "#";
  return made;
}

function undoButton(address) {
  const made = element("button", "", "Undo");
  made.type = "button";
  made.onclick = () => {
    window.htmx.ajax("POST", address, { swap: "none" });
    made.closest(".toast").remove();
  };
  return made;
}

function actButton({ label, run }) {
  const made = element("button", "", label);
  made.type = "button";
  made.onclick = () => {
    made.closest(".toast").remove();
    run();
  };
  return made;
}

/** Goes away by itself, but not while a pointer or the focus is on it. */
function leaveLater(made) {
  let timer = setTimeout(() => made.remove(), SHOWN_MS);
  const hold = () => clearTimeout(timer);
  const go = () => (timer = setTimeout(() => made.remove(), SHOWN_MS / 2));
  made.addEventListener("pointerenter", hold);
  made.addEventListener("pointerleave", go);
  made.addEventListener("focusin", hold);
  made.addEventListener("focusout", go);
}

export function showServerToasts(within = document) {
  for (const message of within.querySelectorAll("template[data-toast]")) {
    const job = /(?:^|\s)job:([0-9a-f-]{36})/.exec(message.dataset.tags ?? "");
    const level = (message.dataset.toast.match(/success|warning|error/) ?? ["info"])[0];
    toast({ text: message.content.textContent.trim(), level, url: job ? `/jobs/${job[1]}/` : "", label: "Show job" });
    message.remove();
  }
}

document.body.addEventListener("toast", (event) => toast(event.detail));
