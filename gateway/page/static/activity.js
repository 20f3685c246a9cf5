// Activity: tokens by kind, requests, and the apps that use the model most.

import { Chart } from "./chart.js";
import { byId, fill, h, put, sync } from "./dom.js";
import { over } from "./definitions.js";
import { RANGE_WORDS, count, ratio, share, tokens, usd } from "./format.js";
import { overRange } from "./lines.js";
import { chosen } from "./state.js";

const KINDS = [
  ["prompt", "--k1", (points, i) => points.prompt[i] - points.cached[i]],
  ["cached prompt", "--k2", (points, i) => points.cached[i]],
  ["completion", "--k3", (points, i) => points.completion[i] - (points.reasoning[i] ?? 0)],
  ["reasoning", "--k4", (points, i) => points.reasoning[i]],
];
const ENDS = [
  ["succeeded", "--k2", (points, i) => points.succeeded[i]],
  ["not succeeded", "--bad", (points, i) => Math.max(0, points.requests[i] - points.succeeded[i])],
];
let charts = null;

export function show({ history }) {
  if (!history) return;
  charts ??= {
    tokens: new Chart("chart-tokens", { format: tokens, labels: false }),
    requests: new Chart("chart-requests", { format: count, labels: false }),
  };
  const { total } = history.all;
  over("tokens", () => `${count(total.requests)} requests in the ${RANGE_WORDS[chosen.range]}.`);
  over("requests", () => `${count(total.requests)} requests in the ${RANGE_WORDS[chosen.range]}.`);
  put(byId("tokens-sum"), total.requests ? `${tokens(total.prompt)} in, ${tokens(total.completion)} out` : "");
  put(
    byId("requests-sum"),
    total.requests
      ? `${count(total.requests)} requests, ${count(total.cached_answers ?? 0)} from the response cache`
      : "",
  );
  stacked("tokens", KINDS, history, "Tokens by kind");
  stacked("requests", ENDS, history, "Requests by outcome");
  apps(history.apps ?? {});
}

// Bars on top of each other: the sums are drawn, the tallest first, and the own values are read.
function stacked(name, kinds, history, words) {
  const { points } = history.all;
  const known = points.requests.map((value) => value !== null && value !== undefined);
  const own = kinds.map(([, , valueOf]) =>
    points.requests.map((_, i) => (known[i] ? Math.max(0, valueOf(points, i) ?? 0) : null)),
  );
  const sums = own.map((_, k) =>
    points.requests.map((__, i) => (known[i] ? own.slice(0, k + 1).reduce((sum, one) => sum + one[i], 0) : null)),
  );
  const lines = kinds
    .map(([key, ink], k) => ({ key, name: key, ink, kind: "bars", values: sums[k], shown: own[k] }))
    .reverse();
  fill(byId(`${name}-key`), ...kinds.map(([key, ink]) => h("li", {}, h("i", { "--c": `var(${ink})` }), key)));
  charts[name].show({
    ...overRange(history),
    lines,
    sorted: false,
    summary: `${words} over the ${RANGE_WORDS[chosen.range]}`,
  });
}

function apps(found) {
  const used = (one) => (one.total.prompt ?? 0) + (one.total.completion ?? 0);
  const rows = Object.entries(found)
    .filter(([, one]) => used(one))
    .sort((a, b) => (a[0] === "other") - (b[0] === "other") || used(b[1]) - used(a[1]));
  const all = rows.reduce((sum, [, one]) => sum + used(one), 0);
  over(
    "apps",
    () =>
      `${count(rows.reduce((sum, [, one]) => sum + one.total.requests, 0))} requests in the ${RANGE_WORDS[chosen.range]}.`,
  );
  const list = byId("apps");
  if (!rows.length)
    return fill(
      list,
      h("li.empty", {}, "No app in this range. A request names its app with the header X-Title or HTTP-Referer."),
    );
  const most = Math.max(...rows.map(([, one]) => used(one)));
  return fill(
    list,
    ...rows.map(([name, one]) =>
      h(
        "li",
        {},
        h("b", {}, name || "no app named"),
        h("span.bar-line", { "aria-hidden": "true" }, h("i.part.price", { "--w": used(one) / most })),
        h("span.num", {}, `${tokens(used(one))} tokens`),
        h(
          "small",
          {},
          `${share(ratio(used(one), all))} · ${count(one.total.requests)} requests · ${usd(one.total.cost_usd)}`,
        ),
      ),
    ),
  );
}
