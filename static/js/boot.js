// Before the first paint: the theme and the rail as this browser had them. Small, and blocking on purpose.
(() => {
  const root = document.documentElement;
  try {
    const theme = localStorage.getItem("theme");
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
    if (localStorage.getItem("rail") === "folded") root.dataset.rail = "folded";
  } catch {
    // Storage is closed to us: the system's theme and an open rail it is.
  }
})();
