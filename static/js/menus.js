// Menus are popovers; here they find their place beside the button, and the arrow keys work in them.
const GAP = 4;

document.addEventListener("toggle", onToggle, true);
addEventListener("resize", closeAll);
addEventListener("scroll", closeAll, { passive: true });
document.addEventListener("keydown", onKey);
document.addEventListener("click", (event) => {
  const chosen = event.target.closest?.(".menu a, .menu button");
  if (chosen) chosen.closest(".menu").hidePopover();
});

function buttonOf(menu) {
  return document.querySelector(`[popovertarget="${CSS.escape(menu.id)}"]`);
}

function onToggle({ target, newState }) {
  if (!target.classList?.contains("menu")) return;
  const button = buttonOf(target);
  button?.setAttribute("aria-expanded", String(newState === "open"));
  if (newState === "open" && button) {
    place(target, button);
    target.querySelector("a, button:not([disabled])")?.focus({ preventScroll: true });
  }
}

function place(menu, button) {
  const at = button.getBoundingClientRect();
  const { width, height } = menu.getBoundingClientRect();
  const below = at.bottom + GAP;
  const top = below + height > innerHeight - 8 ? Math.max(8, at.top - GAP - height) : below;
  const rightSide = at.left + width > document.documentElement.clientWidth - 8 || at.left > innerWidth / 2;
  const left = rightSide ? at.right - width : at.left;
  menu.style.top = `${top}px`;
  menu.style.left = `${Math.max(8, left)}px`;
}

function closeAll() {
  for (const menu of document.querySelectorAll(".menu:popover-open")) menu.hidePopover();
}

function onKey(event) {
  const menu = event.target.closest?.(".menu:popover-open");
  if (!menu || !["ArrowDown", "ArrowUp", "Home", "End"].includes(event.key)) return;
  event.preventDefault();
  const items = [...menu.querySelectorAll("a, button:not([disabled])")];
  const now = items.indexOf(document.activeElement);
  const last = items.length - 1;
  const next = { ArrowDown: now >= last ? 0 : now + 1, ArrowUp: now <= 0 ? last : now - 1, Home: 0, End: last }[event.key];
  items[next].focus();
}
