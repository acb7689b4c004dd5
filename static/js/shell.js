// Small things of the frame: going from tab to tab, focus after it, the job drawer's count.
document.body.addEventListener("htmx:afterSettle", ({ detail }) => {
  // After a tab was opened, the keyboard goes on from the page's content; the tab itself keeps its place for screen readers.
  if (detail.target?.id !== "page" && detail.elt?.id !== "page") return;
  const current = document.querySelector(".tabs [aria-current]");
  current?.scrollIntoView({ block: "nearest", inline: "nearest" });
  if (!document.querySelector("#page :focus")) current?.focus({ preventScroll: true });
});
