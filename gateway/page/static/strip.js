// Days of an uptime as bars: height by traffic, colour by success, a mark below a bad day.

import { attribute, h, sync } from "./dom.js";
import { day as dayOf, percent, ratio } from "./format.js";

const GRADES = [
  [0.99, "good"],
  [0.95, "warn"],
  [0, "bad"],
];

export function strip(node, days, amount, judged, ok) {
  const most = Math.max(1, ...days.map((one) => one[amount] ?? 0));
  sync(
    node,
    days,
    (one) => one.day,
    () => h("i"),
    (bar, one) => {
      const success = ratio(one[ok], one[judged]);
      attribute(bar, "data-grade", success === null ? "none" : GRADES.find(([least]) => success >= least)[1]);
      bar.style.setProperty("--h", success === null ? 0 : 0.25 + 0.75 * Math.sqrt(one[amount] / most));
    },
  );
}

export function words(one, name, unit, amount, judged, ok) {
  const success = ratio(one[ok], one[judged]);
  if (success === null) return `${dayOf(one.day)} · ${name} · no traffic`;
  const worst = one.worst ? ` · worst: ${one.worst.replaceAll("_", " ")}` : "";
  return `${dayOf(one.day)} · ${name} · ${percent(success, one[judged])} of ${one[judged].toLocaleString("en-US")} ${unit}${worst}`;
}
