// One WebSocket that comes back: waits 0.5 s, doubling to 15 s, with jitter; at once when the network or the tab returns.

/** Close codes after which trying again is useless: signed out, may not, not found, bad message, too large. */
const FINAL = new Set([1000, 4400, 4401, 4403, 4404, 4413]);

export class Socket {
  /** handlers: open(socket), text(object), bytes(ArrayBuffer), down(), final(code, reason). */
  constructor(path, handlers) {
    this.url = new URL(path, location.href.replace(/^http/, "ws")).href;
    this.handlers = handlers;
    this.tries = 0;
    this.stopped = false;
    this.wake = () => this.retryNow();
    addEventListener("online", this.wake);
    document.addEventListener("visibilitychange", this.wake);
    this.connect();
  }

  connect() {
    this.timer = null;
    const raw = new WebSocket(this.url);
    raw.binaryType = "arraybuffer";
    this.raw = raw;
    this.last = "";
    raw.onopen = () => {
      this.handlers.open?.(this);
    };
    raw.onmessage = ({ data }) => {
      this.tries = 0;
      if (typeof data !== "string") return this.handlers.bytes?.(data);
      const message = JSON.parse(data);
      if (message.closed !== undefined) this.last = message.closed;
      this.handlers.text?.(message);
    };
    raw.onclose = ({ code }) => {
      if (this.raw !== raw || this.stopped) return;
      if (FINAL.has(code)) {
        this.close();
        this.handlers.final?.(code, this.last);
      } else {
        this.handlers.down?.();
        this.later();
      }
    };
  }

  later() {
    const base = Math.min(15000, 500 * 2 ** this.tries++);
    this.timer = setTimeout(() => this.connect(), base * (0.6 + Math.random() * 0.8));
  }

  retryNow() {
    if (this.timer && !document.hidden && navigator.onLine) {
      clearTimeout(this.timer);
      this.connect();
    }
  }

  get ready() {
    return this.raw.readyState === WebSocket.OPEN;
  }

  send(data) {
    if (this.ready) this.raw.send(data instanceof Uint8Array || typeof data === "string" ? data : JSON.stringify(data));
  }

  close() {
    this.stopped = true;
    clearTimeout(this.timer);
    removeEventListener("online", this.wake);
    document.removeEventListener("visibilitychange", this.wake);
    this.raw.close();
  }
}
