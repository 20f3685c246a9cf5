// Speed runs: the gateway's own small probes of each endpoint, with errors and the time of the last.

import { Chart } from "./chart.js";
import { dash, dot, shortNames, variable } from "./colours.js";
import { byId, fill, h, put, sync } from "./dom.js";
import { over } from "./definitions.js";
import { SMALL, ago, seconds, speed, usd } from "./format.js";
import { figure, heads, row } from "./tables.js";

const COLUMNS = [
  { key: "endpoint", text: "Endpoint" },
  { key: "ttft", text: "TTFT", def: "run-ttft", num: true },
  { key: "throughput", text: "Throughput", def: "run-throughput", num: true },
  { key: "errors", text: "Errors", def: "run-errors", num: true },
  { key: "last", text: "Last run", def: "last-run", num: true },
];
let chart = null;

export function show({ probes, model }) {
  chart ??= new Chart("chart-runs", { format: speed, height: 170 });
  const found = Object.entries(probes?.endpoints ?? {}).filter(([, one]) => one.of);
  const budget = probes?.budget;
  put(
    byId("budget"),
    budget?.usd_per_day ? `${usd(budget.spent_today)} of ${usd(budget.usd_per_day)} spent today` : "",
  );
  over("speed-runs", () => `${found.reduce((sum, [, one]) => sum + one.of, 0)} runs on ${found.length} endpoints.`);
  runs(found, model.at);
  const table = byId("run-table");
  table.hidden = !found.length;
  heads(table, COLUMNS);
  const rows = [...found].sort((a, b) => (b[1].throughput.p50 ?? 0) - (a[1].throughput.p50 ?? 0));
  sync(
    table.tBodies[0],
    rows,
    ([id]) => id,
    ([id]) => row(COLUMNS, { "data-endpoint": id }),
    (line, [id, one]) => {
      fill(line.cells[0], h("span.name", {}, dot(id), h("span", {}, id)));
      quantity(line.cells[1], one.ttft, seconds);
      quantity(line.cells[2], one.throughput, speed);
      figure(line.cells[3], `${one.errors} / ${one.of} runs`);
      figure(line.cells[4], ago(one.last, model.at));
    },
  );
}

function runs(found, now) {
  const times = [...new Set(found.flatMap(([, one]) => one.runs.map((run) => run.at)))].sort((a, b) => a - b);
  const names = shortNames(found.map(([id]) => id));
  const lines = found.map(([id, one]) => {
    const at = new Map(one.runs.map((run) => [run.at, run.throughput]));
    return {
      key: id,
      name: names.get(id),
      ink: variable(id),
      dash: dash(id),
      dots: true,
      width: 1,
      values: times.map((time) => at.get(time) ?? null),
    };
  });
  chart.show({
    times,
    step: 600,
    from: times[0] ?? now - 1,
    to: Math.max(now, times.at(-1) ?? 0),
    lines,
    empty: "No probe has run yet. `gateway probe` runs one now; probes in the configuration run on a schedule.",
    summary: `Tokens per second of each speed run, ${found.length} endpoints`,
  });
}

function quantity(cell, found, format) {
  const few = found.n > 0 && found.n < SMALL;
  figure(
    cell,
    format(found.p50, found.n),
    found.n ? `p95 ${format(found.p95, found.n)} · n ${found.n}` : "",
    few && found.n < 5,
  );
}
