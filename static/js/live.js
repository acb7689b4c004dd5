// The page stays current: elements with data-live="topic …" get an event `live` when the portal says that a topic changed.
import { Socket } from "./socket.js";

const GAP_MS = 500;
const SAY_AFTER_MS = 1500;
let socket;
let subscribed = new Set();
let lost = false;
let sayTimer;
/** element -> {due, timer}: hints of one element are gathered; the last one is never dropped. */
const pending = new WeakMap();

export function start() {
  socket = new Socket("/ws/live/", { open, text, down, final });
  document.body.addEventListener("htmx:afterSettle", () => subscribe());
  document.addEventListener("visibilitychange", () => !document.hidden && flushHeld());
  document.addEventListener("toggle", () => flushHeld(), true);
  document.addEventListener("focusout", () => setTimeout(flushHeld, 0));
}

function topicsOf(element) {
  return element.dataset.live.split(/\s+/).filter(Boolean);
}

function wanted() {
  return new Set([...document.querySelectorAll("[data-live]")].flatMap(topicsOf));
}

function subscribe() {
  const now = wanted();
  const more = [...now].filter((topic) => !subscribed.has(topic));
  const less = [...subscribed].filter((topic) => !now.has(topic));
  if (!socket.ready || (!more.length && !less.length)) return;
  const message = {};
  if (more.length) message.subscribe = more;
  if (less.length) message.unsubscribe = less;
  socket.send(message);
  subscribed = now;
}

function open() {
  subscribed = new Set();
  subscribe();
}

function text(message) {
  if (message.subscribed) {
    say(false);
    // What happened before the subscription or while the line was cut: ask once for everything.
    if (lost) for (const element of document.querySelectorAll("[data-live]")) hint(element);
    lost = false;
  }
  if (message.topic) {
    for (const element of document.querySelectorAll("[data-live]")) {
      if (topicsOf(element).includes(message.topic)) hint(element);
    }
    document.body.dispatchEvent(new CustomEvent(`live:${message.topic}`));
  }
}

function down() {
  lost = true;
  if (!sayTimer) sayTimer = setTimeout(() => say(true), SAY_AFTER_MS);
}

function final(code) {
  if (code === 4401) location.reload();
}

function say(cut) {
  clearTimeout(sayTimer);
  sayTimer = null;
  const place = document.querySelector("[data-connection]");
  if (place) place.hidden = !cut;
}

function hint(element) {
  const state = pending.get(element) ?? { last: 0, timer: null, held: false };
  pending.set(element, state);
  if (state.timer) return;
  const wait = Math.max(0, state.last + GAP_MS - performance.now());
  state.timer = setTimeout(() => {
    state.timer = null;
    deliver(element, state);
  }, wait);
}

function deliver(element, state) {
  state.held = document.hidden || inUse(element);
  if (state.held || !element.isConnected) return;
  state.last = performance.now();
  element.dispatchEvent(new CustomEvent("live"));
}

/** Somebody is in the middle of something in there: a menu is open, or a field has focus. */
function inUse(element) {
  const focus = document.activeElement;
  const typing = focus && element.contains(focus) && focus.matches("input:not([type=checkbox]), select, textarea");
  return typing || element.querySelector(":popover-open, dialog[open], details.fold[open]") !== null;
}

function flushHeld() {
  for (const element of document.querySelectorAll("[data-live]")) {
    const state = pending.get(element);
    if (state?.held) hint(element);
  }
}
