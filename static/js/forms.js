// Submit buttons show themselves busy; a button may generate a password; one may reveal it.
const LETTERS = "abcdefghjkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented || form.method === "dialog" || form.hasAttribute("hx-get")) return;
  const button = event.submitter;
  if (!button?.classList.contains("btn")) return;
  // After the browser has taken the button's name and value along.
  setTimeout(() => {
    button.classList.add("is-busy");
    button.setAttribute("aria-busy", "true");
  }, 0);
});
addEventListener("pageshow", ({ persisted }) => {
  if (persisted) for (const button of document.querySelectorAll(".is-busy")) button.classList.remove("is-busy");
});

document.addEventListener("click", (event) => {
  const button = event.target.closest?.("[data-generate]");
  if (!button) return;
  const field = document.querySelector(button.dataset.generate);
  field.value = password();
  field.dispatchEvent(new Event("input", { bubbles: true }));
  field.focus();
  field.select();
});

/** 20 letters that nobody mistakes for one another: 115 bits. */
function password() {
  const limit = 256 - (256 % LETTERS.length);
  let made = "";
  while (made.length < 20) {
    for (const byte of crypto.getRandomValues(new Uint8Array(32))) {
      if (byte < limit && made.length < 20) made += LETTERS[byte % LETTERS.length];
    }
  }
  return made;
}
