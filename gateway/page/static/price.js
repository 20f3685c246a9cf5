// What tokens really cost: list against paid, per endpoint, and what was saved by what.

import { Chart } from "./chart.js";
import { byId, h, put, sync } from "./dom.js";
import { name, over } from "./definitions.js";
import { NONE, RANGE_WORDS, count, usd } from "./format.js";
import { overRange, perEndpoint } from "./lines.js";
import { chosen } from "./state.js";

const SAVINGS = [
  ["saved-prompt-cache", "prompt_cache_usd"],
  ["saved-routing", "routing_usd"],
  ["saved-response-cache", "response_cache_usd"],
];
let paid = null;
let effective = null;

export function show({ history }) {
  if (!history) return;
  paid ??= new Chart("chart-paid", { format: usd });
  effective ??= new Chart("chart-effective", { format: usd });
  const { points, total } = history.all;
  const listed = points.list_usd.map((dollars, index) => {
    const used = points.prompt[index] + points.completion[index];
    return dollars === null || !used ? null : (1e6 * dollars) / used;
  });
  const saved = Math.max(0, (total.list_usd ?? 0) - (total.cost_usd ?? 0));
  put(byId("paid-sum"), total.requests ? `${usd(total.cost_usd)} paid, ${usd(total.list_usd)} at list price` : "");
  for (const id of ["paid", "effective-input"])
    over(id, () => `${count(total.attempts)} attempts in the ${RANGE_WORDS[chosen.range]}.`);
  paid.show({
    ...overRange(history),
    lines: [
      { key: "list", name: "list", ink: "--quiet", dash: [5, 4], width: 1.5, values: listed },
      { key: "paid", name: "paid", ink: "--ink", width: 2, values: points.effective_price },
    ],
    bands: [{ series: [1, 2] }],
    note: saved ? `${usd(saved)} saved` : "",
    summary: `USD per 1M tokens over the ${RANGE_WORDS[chosen.range]}: list price against paid, ${usd(saved)} saved`,
  });
  effective.show({
    ...overRange(history),
    lines: perEndpoint(history, (series) => series.effective_input),
    summary: `Effective input price per endpoint over the ${RANGE_WORDS[chosen.range]}, USD per 1M prompt tokens`,
  });
  savings(history.saved ?? {});
}

function savings(saved) {
  const create = ([id]) => h("div.tile", {}, h("dt", {}, name(h("button.what", { "data-def": id }))), h("dd.figure"));
  sync(
    byId("savings"),
    SAVINGS,
    ([id]) => id,
    create,
    (node, [, field]) => {
      const value = saved[field];
      put(node.lastChild, value === null || value === undefined ? NONE : usd(value));
    },
  );
}
