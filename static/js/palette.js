// The command palette: `/` or Ctrl-K; finds everything, and runs acts by POST.
import { element, icon } from "./icons.js";
import { toast } from "./toasts.js";
import { wordsOf } from "./errors.js";

const dialog = document.getElementById("palette");
const input = dialog?.querySelector("[data-palette-input]");
const list = document.getElementById("palette-list");
const TONES = { running: "ok", online: "ok", succeeded: "ok", degraded: "warn", missing: "warn", failed: "bad", offline: "bad" };
let items = [];
let chosen = 0;
let asked = 0;
let timer;

if (dialog) {
  document.addEventListener("click", (event) => event.target.closest?.("[data-palette]") && open());
  document.addEventListener("keydown", onGlobalKey);
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(ask, 60);
  });
  input.addEventListener("keydown", onKey);
  list.addEventListener("pointermove", (event) => choose(indexOf(event.target)));
  list.addEventListener("click", (event) => run(items[indexOf(event.target)], event));
}

function onGlobalKey(event) {
  const typing = event.target.closest?.("input, textarea, select, [contenteditable], .xterm");
  const slash = event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey;
  const ctrlK = event.key.toLowerCase() === "k" && (event.ctrlKey || event.metaKey) && !event.target.closest?.(".xterm");
  if (!slash && !ctrlK) return;
  event.preventDefault();
  open();
}

function open() {
  if (dialog.open) return;
  input.value = "";
  dialog.showModal();
  input.focus();
  ask();
}

async function ask() {
  const mine = ++asked;
  const address = `${dialog.dataset.search}?${new URLSearchParams({ q: input.value.trim() })}`;
  try {
    const answer = await fetch(address, { headers: { Accept: "application/json" } });
    if (mine !== asked) return;
    if (answer.redirected || answer.status === 403) return location.reload();
    const { results = [] } = await answer.json();
    show(results);
  } catch {
    if (mine === asked) note("The portal did not answer.");
  }
}

function note(text) {
  items = [];
  list.replaceChildren(element("p", "palette-note", text));
  input.removeAttribute("aria-activedescendant");
}

function show(results) {
  if (!results.length) return note(input.value ? `Nothing is called “${input.value}”.` : "Nothing here yet.");
  items = results;
  const rows = [];
  let group = "";
  results.forEach((item, index) => {
    if (item.group !== group) {
      group = item.group;
      const head = element("div", "palette-group", group);
      head.setAttribute("role", "presentation");
      rows.push(head);
    }
    rows.push(row(item, index));
  });
  list.replaceChildren(...rows);
  list.scrollTop = 0;
  choose(0);
}

function row(item, index) {
  const made = element("div", "palette-item", icon(item.icon || "arrow-right"));
  made.append(element("span", "palette-title", item.title), element("span", "palette-hint", item.hint ?? ""));
  const verb = item.method === "post" ? "Run" : "";
  if (item.state) made.append(element("span", `palette-verb tone-${TONES[item.state] ?? "calm"}`, item.state.replace(/^job-/, "")));
  else if (verb) made.append(element("span", "palette-verb", verb));
  made.id = `palette-${index}`;
  made.dataset.index = index;
  made.setAttribute("role", "option");
  made.setAttribute("aria-selected", "false");
  return made;
}

function indexOf(target) {
  const found = target.closest?.(".palette-item");
  return found ? Number(found.dataset.index) : -1;
}

function choose(index, scroll = false) {
  if (index < 0 || index >= items.length) return;
  document.getElementById(`palette-${chosen}`)?.setAttribute("aria-selected", "false");
  chosen = index;
  const now = document.getElementById(`palette-${chosen}`);
  now?.setAttribute("aria-selected", "true");
  input.setAttribute("aria-activedescendant", `palette-${chosen}`);
  if (scroll) now?.scrollIntoView({ block: "nearest" });
}

function onKey(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step) {
    event.preventDefault();
    choose((chosen + step + items.length) % items.length, true);
  } else if (event.key === "Enter" && !event.isComposing) {
    event.preventDefault();
    run(items[chosen], event);
  }
}

async function run(item, event) {
  if (!item) return;
  const address = new URL(item.url, location.href);
  if (address.origin !== location.origin) return;
  if (item.method !== "post") {
    if (event.ctrlKey || event.metaKey) window.open(address.href, "_blank", "noopener");
    else location.assign(address.href);
    return;
  }
  dialog.close();
  const token = JSON.parse(document.body.getAttribute("hx-headers"));
  const answer = await fetch(address.href, { method: "POST", headers: { ...token, Accept: "application/json" } }).catch(() => null);
  if (!answer) return toast({ level: "error", text: "The portal did not answer.", more: "Check the connection, then try again." });
  if (answer.ok && answer.redirected) return location.assign(answer.url);
  if (answer.ok) return toast({ level: "success", text: `${item.title}: under way.` });
  toast({ level: "error", ...wordsOf({ status: answer.status, responseText: await answer.text() }) });
}
