// Ticking rows: all, ranges with Shift, a bar with acts for those ticked; ticks survive a live refetch.
let lastTicked = null;

document.addEventListener("change", ({ target }) => {
  if (target.matches?.("[data-select-all]")) {
    for (const box of boxes(target.closest("table"))) box.checked = target.checked;
  }
  const table = target.closest?.("table[data-select]");
  if (table) update(table);
});
document.addEventListener("click", (event) => {
  const box = event.target;
  if (box.matches?.("table[data-select] td input[type=checkbox]")) {
    if (event.shiftKey && lastTicked?.isConnected) tickRange(box);
    lastTicked = box;
  }
  if (event.target.closest?.("[data-bulk-clear]")) {
    const table = tableOf(event.target.closest("[data-bulk]"));
    for (const one of boxes(table)) one.checked = false;
    update(table);
  }
});

function boxes(table) {
  return [...table.querySelectorAll("td input[type=checkbox]")];
}

function tickRange(box) {
  const all = boxes(box.closest("table"));
  const [from, to] = [all.indexOf(lastTicked), all.indexOf(box)].sort((a, b) => a - b);
  if (from >= 0) for (const one of all.slice(from, to + 1)) one.checked = box.checked;
}

function barOf(table) {
  return (table.closest("form") ?? table.parentElement.parentElement).querySelector("[data-bulk]");
}
function tableOf(bar) {
  return (bar.closest("form") ?? bar.parentElement).querySelector("table[data-select]");
}

function update(table) {
  const all = boxes(table);
  const count = all.filter((box) => box.checked).length;
  const head = table.querySelector("[data-select-all]");
  if (head) {
    head.checked = count > 0 && count === all.length;
    head.indeterminate = count > 0 && count < all.length;
  }
  const bar = barOf(table);
  if (!bar) return;
  bar.hidden = count === 0;
  bar.querySelector("[data-bulk-count]").textContent = count;
  bar.querySelector("[data-bulk-plural]").hidden = count === 1;
}

/** What was ticked in an element that htmx is about to replace. */
let kept = new Set();
document.body.addEventListener("htmx:beforeSwap", ({ detail }) => {
  const ticked = [...(detail.target?.querySelectorAll?.("td input[type=checkbox]:checked") ?? [])];
  if (ticked.length) kept = new Set(ticked.map((box) => box.value));
});
document.body.addEventListener("htmx:afterSettle", () => {
  if (!kept.size) return;
  for (const table of document.querySelectorAll("table[data-select]")) {
    for (const box of boxes(table)) if (kept.has(box.value)) box.checked = true;
    update(table);
  }
  kept = new Set();
});
addEventListener("pageshow", () => document.querySelectorAll("table[data-select]").forEach(update));
