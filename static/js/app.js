// What every page has. Parts that only some pages have (job, journal, terminal, charts) come when their element does.
import "./errors.js";
import { start as startLive } from "./live.js";
import "./menus.js";
import "./dialogs.js";
import "./forms.js";
import "./copy.js";
import "./times.js";
import "./theme.js";
import "./table.js";
import "./palette.js";
import "./shell.js";
import { showServerToasts } from "./toasts.js";
import { loadParts } from "./parts.js";

document.addEventListener("DOMContentLoaded", begin, { once: true });
if (document.readyState !== "loading") begin();

let begun = false;
function begin() {
  if (begun) return;
  begun = true;
  showServerToasts();
  loadParts(document);
  if (document.querySelector(".rail")) startLive();
  document.body.addEventListener("htmx:load", (event) => loadParts(event.target));
}
