// Success over time with and without routing, and the last 30 days of the model and of each endpoint.

import { Chart } from "./chart.js";
import { dot } from "./colours.js";
import { attribute, byId, csvLink, h, put, sync } from "./dom.js";
import { over } from "./definitions.js";
import { RANGE_WORDS, count, fullDay, percent, ratio } from "./format.js";
import { overRange } from "./lines.js";
import { chosen } from "./state.js";
import { strip, words } from "./strip.js";

let chart = null;

export function show({ history, model }) {
  if (!history) return;
  chart ??= new Chart("chart-uptime", {
    format: (value) => percent(value, value > 0.99 ? 10_000 : 1000),
    floor: lowest,
    ceiling: 1.0003,
  });
  const { points, total } = history.all;
  const rate = (part) => points.judged_requests.map((all, index) => ratio(points[part][index], all));
  const [routed, alone] = ["succeeded", "first_ok"].map((part) =>
    percent(ratio(total[part], total.judged_requests), total.judged_requests),
  );
  put(byId("routed-sum"), total.judged_requests ? `${routed} with routing, ${alone} without` : "");
  over("routed", () => `${count(total.judged_requests)} requests in the ${RANGE_WORDS[chosen.range]}.`);
  chart.show({
    ...overRange(history),
    lines: [
      { key: "alone", name: "without", ink: "--quiet", dash: [5, 4], width: 1.5, values: rate("first_ok") },
      { key: "routed", name: "with routing", ink: "--ink", width: 2, values: rate("succeeded") },
    ],
    summary: `Requests that succeeded over the ${RANGE_WORDS[chosen.range]}: ${routed} with routing, ${alone} without`,
  });
  days(history.days, model);
}

// A share is not zero-based: the axis starts below the lowest value, at a round one.
function lowest(low) {
  return [0.999, 0.99, 0.95, 0.9, 0.8, 0.5, 0].find((value) => low >= value + (1 - value) * 0.05) ?? 0;
}

function days(all, model) {
  const known = new Set(
    model.endpoints.filter((one) => one.state !== "unused" && one.state !== "retired").map((one) => one.id),
  );
  const rows = [
    {
      id: "",
      name: "All, with routing",
      days: all.all,
      fields: ["requests", "requests", "succeeded"],
      unit: "requests",
    },
    ...Object.entries(all.endpoints)
      .filter(([id]) => known.has(id))
      .map(([id, found]) => ({ id, name: id, days: found, fields: ["attempts", "judged", "ok"], unit: "attempts" })),
  ];
  over(
    "uptime",
    () => `${count(rows.slice(1).reduce((sum, one) => sum + whole(one, "judged"), 0))} attempts in 30 days.`,
  );
  sync(
    byId("days"),
    rows,
    (one) => one.id,
    create,
    (node, one) => {
      node.shown = one;
      const [judged, ok] = [whole(one, one.fields[1]), whole(one, one.fields[2])];
      const text = percent(ratio(ok, judged), judged);
      strip(node.children[1], one.days, ...one.fields);
      attribute(
        node.children[1],
        "aria-label",
        `${one.name}: ${text} of ${count(judged)} ${one.unit} in 30 days. Arrow keys read the days.`,
      );
      put(node.children[2], text);
    },
  );
}

const whole = (one, field) => one.days.reduce((sum, day) => sum + (day[field] ?? 0), 0);

function create({ id, name }) {
  const bars = h("div.days", { role: "img", tabindex: 0 });
  const node = h(
    "div.days-row",
    { "data-endpoint": id || null },
    h("span.name", {}, id ? dot(id) : h("i.dot.all"), h("span", {}, name)),
    bars,
    h("span.num"),
    csvLink(`uptime-${id || "all"}.csv`, () => rowsOf(node.shown)),
  );
  let at = 29;
  const read = (index) => {
    at = Math.max(0, Math.min(node.shown.days.length - 1, index));
    for (const bar of document.querySelectorAll(".days .on")) bar.classList.remove("on");
    bars.children[at]?.classList.add("on");
    const one = node.shown;
    put(byId("day-read"), words(one.days[at], one.name, one.unit, ...one.fields));
  };
  const under = (event) => [...bars.children].indexOf(event.target.closest("i"));
  for (const kind of ["pointerover", "click"])
    bars.addEventListener(kind, (event) => under(event) >= 0 && read(under(event)));
  bars.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: -1, ArrowRight: 1, Home: -30, End: 30 }[event.key];
    if (!move) return;
    event.preventDefault();
    read(at + move);
  });
  return node;
}

const rowsOf = (one) => [
  ["day", "attempts", "judged", "ok", "worst"],
  ...one.days.map((day) => [fullDay(day.day), day[one.fields[0]], day[one.fields[1]], day[one.fields[2]], day.worst]),
];
