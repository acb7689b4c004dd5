// Terminals. Each lives in an element of its own that is parked outside the page while another tab is shown, and each
// comes back to its shell after a reload or a cut: the portal keeps the shell, sessionStorage keeps its id.
import { FitAddon } from "@xterm/addon-fit";
import { WebLinksAddon } from "@xterm/addon-web-links";
import { Terminal } from "@xterm/xterm";
import { copyText } from "./copytext.js";
import { strictDocument } from "./csp-document.js";
import { element, icon } from "./icons.js";

const CHUNK = 16 * 1024;
const FONT = '"JetBrains Mono Variable", ui-monospace, monospace';
const THEME = {
  background: "#0d0e12",
  foreground: "#e4e5ea",
  cursor: "#a5a9ff",
  cursorAccent: "#0d0e12",
  selectionBackground: "#3b3f8a",
  black: "#2a2c35",
  red: "#ff8d82",
  green: "#5ccf8b",
  yellow: "#e8b154",
  blue: "#8fa3ff",
  magenta: "#d49bf0",
  cyan: "#4fc3d6",
  white: "#d5d7de",
  brightBlack: "#868a98",
  brightRed: "#ffaba3",
  brightGreen: "#8be3ae",
  brightYellow: "#f5cc85",
  brightBlue: "#b4c1ff",
  brightMagenta: "#e6c1f8",
  brightCyan: "#8adbe8",
  brightWhite: "#ffffff",
};
const ICONS = { busy: "loader-circle", ready: "circle-check", closed: "circle-x" };
const sessions = new Map();

export function mount(root) {
  const id = root.dataset.terminal;
  let session = sessions.get(id);
  if (!session) sessions.set(id, (session = new Session(id)));
  if (session.root !== root || !root.contains(session.holder)) session.show(root); // each swap on the page asks anew
}

/** Before the page is swapped away, its terminals go to the parking place; they stay connected there. */
document.body.addEventListener("htmx:beforeSwap", ({ detail }) => {
  if (!detail.shouldSwap) return;
  for (const session of sessions.values()) if (detail.target?.contains?.(session.holder)) session.park();
});

class Session {
  constructor(id) {
    this.id = id;
    this.holder = element("div", "terminal-holder");
    this.term = new Terminal({
      documentOverride: strictDocument,
      allowProposedApi: false,
      cursorBlink: !matchMedia("(prefers-reduced-motion: reduce)").matches,
      fontFamily: FONT,
      fontSize: 13,
      lineHeight: 1.25,
      minimumContrastRatio: 4.5,
      scrollback: 10_000,
      theme: THEME,
    });
    this.fit = new FitAddon();
    this.term.loadAddon(this.fit);
    this.term.loadAddon(new WebLinksAddon());
    this.term.onData((text) => this.send(new TextEncoder().encode(text)));
    this.term.onBinary((text) => this.send(Uint8Array.from(text, (char) => char.charCodeAt(0))));
    this.term.onResize(({ cols, rows }) => this.tell({ resize: [cols, rows] }));
    this.term.attachCustomKeyEventHandler((event) => this.key(event));
    this.resizer = new ResizeObserver(() => this.refit());
    this.tries = 0;
    this.ahead = [];
    addEventListener("online", () => this.retryNow());
    document.addEventListener("visibilitychange", () => !document.hidden && this.retryNow());
  }

  async show(root) {
    if (this.root === root) return;
    this.root = root;
    const screen = root.querySelector("[data-terminal-screen]");
    screen.replaceChildren(this.holder);
    root.querySelector("[data-terminal-new]").onclick = () => this.renew();
    root.querySelector("[data-terminal-copy]").onclick = () => this.copy();
    const full = root.querySelector("[data-terminal-full]");
    full.onclick = () => {
      full.setAttribute("aria-pressed", String(root.classList.toggle("is-full")));
      this.term.focus();
    };
    this.say(this.state, this.words);
    if (!this.opened) {
      this.opened = true;
      // Measured before the font is there, columns would be wrong.
      await document.fonts.load(`13px ${FONT}`).catch(() => []);
      this.term.open(this.holder);
      this.term.textarea.setAttribute("aria-label", "Terminal. Ctrl-Shift-Up leaves it.");
      this.resizer.observe(this.holder);
    }
    this.refit();
    this.term.focus();
    if (!this.begun) {
      this.begun = true;
      this.connect();
    }
  }

  park() {
    this.root.classList.remove("is-full");
    document.getElementById("parking").append(this.holder);
  }

  refit() {
    if (this.opened && this.holder.offsetWidth > 40 && this.holder.offsetHeight > 20) this.fit.fit();
  }

  // --- the connection ---

  async connect() {
    if (this.asking) return; // one ticket at a time
    clearTimeout(this.timer);
    this.timer = null;
    this.ended = false;
    this.asking = true;
    this.say("busy", this.tries ? "Reconnecting…" : "Connecting…");
    let answer;
    try {
      answer = await this.ticket();
    } catch (error) {
      if (error instanceof Refused) return this.end(error.message);
      return this.later();
    } finally {
      this.asking = false;
    }
    if (answer.session !== kept(this.id)) this.fresh = true;
    keep(this.id, answer.session);
    this.attach(answer.ticket);
  }

  async ticket() {
    const headers = { ...JSON.parse(document.body.getAttribute("hx-headers")), Accept: "application/json" };
    const body = new URLSearchParams({ session: kept(this.id) });
    const answer = await fetch(this.root.dataset.ticket, { method: "POST", headers, body });
    if (answer.ok && !answer.redirected) return answer.json();
    if (answer.redirected) throw new Refused("You are signed out. Load the page again.");
    if (answer.status >= 500 && answer.status !== 503) throw new Error(`status ${answer.status}`);
    const { what, why, hint, title, detail } = await answer.json().catch(() => ({}));
    const words = [what ?? title, why ?? detail, hint].filter(Boolean).join(" ");
    throw new Refused(words || "The terminal cannot be opened.");
  }

  attach(ticket) {
    const address = new URL(this.root.dataset.ws, location.href.replace(/^http/, "ws"));
    const socket = new WebSocket(address);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    this.lastWords = "";
    socket.onopen = () => socket.send(JSON.stringify({ ticket, cols: this.term.cols, rows: this.term.rows }));
    socket.onmessage = ({ data }) => {
      if (this.socket !== socket) return;
      if (typeof data === "string") this.message(JSON.parse(data));
      else this.term.write(new Uint8Array(data));
    };
    socket.onclose = ({ code }) => {
      if (this.socket !== socket) return;
      this.socket = null;
      this.ready = false;
      if (code === 1000 || (code >= 4400 && code < 4500)) this.end(this.lastWords || "The session has ended.", code === 1000);
      else this.later();
    };
  }

  message(message) {
    if (message.ready) {
      this.tries = 0;
      this.ready = true;
      // The portal shows again what the shell showed; what is on the screen would then be there twice.
      this.term.reset();
      this.say("ready", "Connected");
      this.tell({ resize: [this.term.cols, this.term.rows] });
      if (this.ahead.length) this.send(Uint8Array.from(this.ahead.splice(0)));
    }
    if (message.skipped) this.term.write("\r\n\x1b[2m[some output was skipped]\x1b[0m\r\n");
    if (message.closed !== undefined) this.lastWords = message.closed;
  }

  later() {
    this.say("busy", "Reconnecting…");
    const wait = Math.min(15_000, 500 * 2 ** this.tries++) * (0.6 + Math.random() * 0.8);
    this.timer = setTimeout(() => this.connect(), wait);
  }

  retryNow() {
    if (this.timer && navigator.onLine) this.connect();
  }

  end(words, over = false) {
    if (over) forget(this.id);
    this.ended = true;
    this.say("closed", words);
    this.term.write(`\r\n\x1b[2m${clean(words)} Press Enter to open a new session.\x1b[0m\r\n`);
  }

  renew() {
    if (this.ready) this.tell({ end: true });
    const socket = this.socket;
    this.socket = null;
    this.ready = false;
    socket?.close();
    forget(this.id);
    this.tries = 0;
    this.term.reset();
    this.term.focus();
    this.connect();
  }

  // --- keys ---

  send(bytes) {
    if (!this.ready) return this.keep(bytes);
    for (let at = 0; at < bytes.length; at += CHUNK) this.socket.send(bytes.subarray(at, at + CHUNK));
  }

  /** What is typed while the first connection is made goes to the shell when it is there; a page of it at most. */
  keep(bytes) {
    if (!this.ended && this.tries === 0 && this.ahead.length < 4096) this.ahead.push(...bytes);
  }

  tell(message) {
    if (this.ready) this.socket.send(JSON.stringify(message));
  }

  /** False: the key is ours, not the shell's. */
  key(event) {
    if (event.type !== "keydown") return true;
    if (this.ended && event.key === "Enter") {
      event.preventDefault();
      this.renew();
      return false;
    }
    if (!event.ctrlKey || !event.shiftKey) return true;
    if (event.code === "KeyC") {
      event.preventDefault();
      this.copy();
      return false;
    }
    if (event.key === "ArrowUp") {
      event.preventDefault();
      this.root.querySelector("[data-terminal-copy]").focus();
      return false;
    }
    return event.code !== "KeyV"; // the browser pastes by itself
  }

  async copy() {
    const text = this.term.getSelection();
    if (!text) return;
    await copyText(text);
    this.term.focus();
  }

  say(state, words) {
    this.state = state ?? "busy";
    this.words = words ?? "Connecting…";
    const place = this.root?.querySelector("[data-terminal-status]");
    if (!place) return;
    place.dataset.state = this.state;
    place.title = this.words;
    place.replaceChildren(icon(ICONS[this.state]), element("span", "", this.words));
  }
}

class Refused extends Error {}

function clean(words) {
  // eslint-disable-next-line no-control-regex
  return words.replace(/[\x00-\x1f\x7f-\x9f]/g, " ");
}

function kept(id) {
  try {
    return sessionStorage.getItem(`terminal:${id}`) ?? "";
  } catch {
    return "";
  }
}
function keep(id, session) {
  try {
    sessionStorage.setItem(`terminal:${id}`, session);
  } catch {
    // Storage is closed to us: a reload then opens a new shell.
  }
}
function forget(id) {
  keep(id, "");
}
