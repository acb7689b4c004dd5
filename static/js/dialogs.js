// Dialogs and drawers: opened by data-dialog / data-drawer, closed by data-close, Escape or a click beside them.
document.addEventListener("click", (event) => {
  const opener = event.target.closest?.("[data-dialog], [data-drawer]");
  if (opener) return open(document.getElementById(opener.dataset.dialog ?? opener.dataset.drawer));
  if (event.target.closest?.("[data-close]")) return event.target.closest("dialog")?.close();
  if (event.target instanceof HTMLDialogElement && outside(event)) event.target.close();
});

export function open(dialog) {
  if (!dialog || dialog.open) return;
  dialog.showModal();
  const field = dialog.querySelector("[data-confirm]");
  if (field) {
    field.value = "";
    check(field);
  }
}

function outside({ target, clientX, clientY }) {
  const box = target.getBoundingClientRect();
  return clientX < box.left || clientX > box.right || clientY < box.top || clientY > box.bottom;
}

/** Destruction wants the name typed. */
document.addEventListener("input", ({ target }) => target.matches?.("[data-confirm]") && check(target));
function check(field) {
  const fits = field.value.trim() === field.dataset.confirm;
  for (const button of field.form?.querySelectorAll("button[type=submit]") ?? []) button.disabled = !fits;
}
