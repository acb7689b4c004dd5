// data-copy copies the text of the data-copy-source beside it, and says so on the button for a moment.
import { copyText } from "./copytext.js";
import { toast } from "./toasts.js";

document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("[data-copy]");
  if (!button) return;
  event.preventDefault();
  const source = button.parentElement.querySelector("[data-copy-source]");
  if (await copyText(source.dataset.copySource || textOf(source))) {
    button.classList.add("is-done");
    setTimeout(() => button.classList.remove("is-done"), 1500);
  } else {
    toast({ level: "warning", text: "This browser did not let the portal copy.", more: "Select the text and press Ctrl-C." });
  }
});

function textOf(source) {
  const lines = [...source.querySelectorAll(".command-line")];
  return lines.length ? lines.map((line) => line.textContent).join("\n") : source.textContent.trim();
}
