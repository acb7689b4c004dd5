// Relative times, kept current; the exact one, in the viewer's zone, as title. The words equal those of `{% when %}`.
const UNITS = [
  [60, 1, "s"],
  [3600, 60, "min"],
  [86400, 3600, "h"],
  [86400 * 60, 86400, "d"],
];
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });

export function relative(seconds) {
  const past = seconds >= 0;
  const size = Math.abs(seconds);
  if (size < 10) return past ? "just now" : "now";
  const unit = UNITS.find(([limit]) => size < limit);
  const years = size >= 86400 * 730;
  const far = years ? `${Math.floor(size / 31557600)} years` : `${Math.floor(size / (86400 * 30))} months`;
  const words = unit ? `${Math.floor(size / unit[1])} ${unit[2]}` : far;
  return past ? `${words} ago` : `in ${words}`;
}

export function refresh(within = document) {
  for (const time of within.querySelectorAll("time[data-relative]")) {
    const at = new Date(time.dateTime);
    const words = relative((Date.now() - at) / 1000);
    if (time.textContent !== words) time.textContent = words;
    if (time.dataset.relative !== "done") {
      time.title = exact.format(at);
      time.dataset.relative = "done";
    }
  }
}

refresh();
setInterval(() => !document.hidden && refresh(), 5000);
document.body.addEventListener("htmx:load", (event) => refresh(event.target));
