// Throughput, time to first token and latency of each endpoint over time, at the chosen percentile.

import { Chart } from "./chart.js";
import { over } from "./definitions.js";
import { RANGE_WORDS, count, seconds, speed } from "./format.js";
import { overRange, perEndpoint } from "./lines.js";
import { chosen } from "./state.js";

const CHARTS = [
  ["throughput", speed, "tokens per second"],
  ["ttft", seconds, "time to first token"],
  ["latency", seconds, "time to last token"],
];
const charts = new Map();

export function show({ history }) {
  if (!history) return;
  for (const [field, format, words] of CHARTS) {
    if (!charts.has(field)) charts.set(field, new Chart(`chart-${field}`, { format }));
    const lines = perEndpoint(history, (points) => points[field][chosen.p]);
    const n = Object.values(history.endpoints).reduce((sum, one) => sum + (one.total[field]?.n ?? 0), 0);
    over(field, () => `${count(n)} samples of ${lines.length} endpoints in the ${RANGE_WORDS[chosen.range]}.`);
    charts.get(field).show({
      ...overRange(history),
      lines,
      summary: `${words}, ${chosen.p}, of ${lines.length} endpoints over the ${RANGE_WORDS[chosen.range]}`,
    });
  }
}
