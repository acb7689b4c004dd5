// A request that failed says so, in three parts where the answer has them.
import { toast } from "./toasts.js";

// A request that a newer one replaces, or that ends with the page, is no error; htmx would log it as one.
window.htmx.logger = (element, event, detail) => {
  if (event === "htmx:sendAbort" || (event === "htmx:afterRequest" && detail.xhr?.status === 0)) delete detail.error;
};

document.body.addEventListener("htmx:responseError", ({ detail }) => {
  const { status } = detail.xhr;
  if (status === 401 || status === 403) {
    const where = detail.xhr.responseURL;
    if (where.includes("/accounts/login/")) return location.reload();
  }
  toast({ level: "error", ...wordsOf(detail.xhr) });
});
document.body.addEventListener("htmx:sendError", () => {
  toast({ level: "error", text: "The portal did not answer.", more: "Check the connection, then try again." });
});
/** A login page in place of a fragment: the session has ended. */
document.body.addEventListener("htmx:beforeSwap", (event) => {
  if (event.detail.xhr.responseURL.includes("/accounts/login/")) {
    event.detail.shouldSwap = false;
    location.reload();
  }
});

/** {text, more} of an answer that went wrong: from problem+json, from an error page, or by its status. */
export function wordsOf({ status, responseText }) {
  try {
    const { what, why, hint, title, detail } = JSON.parse(responseText);
    const text = what ?? title ?? detail;
    if (text) return { text, more: [why ?? (title ? detail : ""), hint].filter(Boolean).join(" ") };
  } catch {
    const page = new DOMParser().parseFromString(responseText, "text/html");
    const text = page.querySelector(".alert-what")?.textContent.trim();
    if (text) {
      const rest = [...page.querySelectorAll(".alert-text p:not(.alert-what)")].map((line) => line.textContent.trim());
      return { text, more: rest.join(" ") };
    }
  }
  if (status === 404) return { text: "That is no longer there.", more: "Load the page again to see what is." };
  if (status === 403) return { text: "You may not do that.", more: "Ask a team admin or an operator." };
  return { text: "The portal met an unexpected error.", more: `Try again; if it stays, tell an operator (status ${status}).` };
}
