// List prices over time: a step for each change, with its date and source; a typical conversation priced.

import { Chart } from "./chart.js";
import { dash, dot, shortNames, variable } from "./colours.js";
import { byId, fill, h, put, sync } from "./dom.js";
import { over } from "./definitions.js";
import { ago, fullDay, price, significant, usd } from "./format.js";
import { chosen } from "./state.js";
import { figure, heads, row } from "./tables.js";

const MONTH = 30 * 86_400; // seconds that the chart shows at least
const TYPICAL = { input: 600, output: 200 }; // tokens
const COLUMNS = [
  { key: "endpoint", text: "Endpoint" },
  { key: "split", text: "Input and output", def: "input-output" },
  { key: "change", text: "Since first", def: "price-change", num: true },
  { key: "typical", text: "Conversation", def: "typical", num: true },
  { key: "source", text: "Last change", def: "price-source" },
];
const FLAGS = {
  zero: "zero price",
  missing: "no price",
  jump: "price jump",
  unlisted: "unlisted",
  deprecated: "deprecated",
  new: "first price",
  tiers: "price in tiers",
};
let chart = null;

export function show({ prices, model }) {
  chart ??= new Chart("chart-history", { format: usd });
  const found = Object.entries(prices?.endpoints ?? {}).filter(
    ([id, one]) => one.changes?.length && variable(id) !== "--none",
  );
  put(byId("history-sync"), prices?.last_sync ? `last sync ${ago(prices.last_sync, model.at)}` : "never synced");
  over(
    "price-history",
    () =>
      `${found.reduce((sum, [, one]) => sum + one.changes.length, 0)} recorded prices of ${found.length} endpoints.`,
  );
  steps(found, model.at);
  table(found, prices);
  changes(found);
}

function steps(found, now) {
  const dated = found.flatMap(([, one]) => one.changes.map((change) => change.at)).filter((at) => at !== null);
  const first = Math.min(now - MONTH, ...dated);
  const times = [...new Set([first, ...dated, now])].sort((a, b) => a - b);
  const names = shortNames(found.map(([id]) => id));
  const field = chosen.price;
  const lines = found.map(([id, one]) => ({
    key: id,
    name: names.get(id),
    ink: variable(id),
    dash: dash(id),
    kind: "step",
    values: times.map((at) => last(one.changes, at)?.[field] ?? null),
  }));
  const marks = found.flatMap(([id, one]) =>
    one.changes
      .slice(1)
      .filter((change, index) => change[field] !== one.changes[index][field] && change[field] !== null)
      .map((change) => ({ at: change.at, value: change[field], ink: variable(id) })),
  );
  chart.show({
    times,
    step: 86_400,
    from: first,
    to: now,
    lines,
    marks,
    empty: "No price is recorded yet.",
    summary: `List price of ${field} per endpoint since ${fullDay(first)}, ${marks.length} changes`,
  });
}

const last = (changes, at) => changes.findLast((change) => (change.at ?? 0) <= at); // the first may have no date

function table(found, prices) {
  const node = byId("price-table");
  node.hidden = !found.length;
  heads(node, COLUMNS);
  const most = Math.max(1e-9, ...found.map(([, one]) => sum(one.changes.at(-1))));
  const rows = [...found].sort((a, b) => typical(a[1].changes.at(-1)) - typical(b[1].changes.at(-1)));
  sync(
    node.tBodies[0],
    rows,
    ([id]) => id,
    ([id]) => row(COLUMNS, { "data-endpoint": id }),
    (line, [id, one]) => {
      const [now, first] = [one.changes.at(-1), one.changes[0]];
      fill(line.cells[0], h("span.name", {}, dot(id), h("span", {}, id)), ...flags(prices.endpoints[id].flags));
      fill(
        line.cells[1],
        h(
          "span.split",
          {},
          h(
            "span.bar-line",
            { "aria-hidden": "true" },
            h("i.part.price", { "--w": (now.input ?? 0) / most }),
            h("i.part.time", { "--w": (now.output ?? 0) / most }),
          ),
          h("small", {}, `${price(now.input)} in, ${price(now.output)} out`),
        ),
      );
      const change = first.input ? (sum(now) / sum(first) - 1) * 100 : null;
      figure(
        line.cells[2],
        change === null
          ? "–"
          : Math.abs(change) < 0.05
            ? "unchanged"
            : `${change > 0 ? "+" : "−"}${significant(Math.abs(change), 2)} %`,
        first.at === null ? "since the catalogue" : `since ${fullDay(first.at)}`,
      );
      figure(line.cells[3], usd(typical(now)), "800 tokens");
      figure(line.cells[4], now.at === null ? "not dated" : fullDay(now.at), `from ${now.source}`);
    },
  );
}

const sum = (change) => (change.input ?? 0) + (change.output ?? 0);
const typical = (change) => ((change.input ?? 0) * TYPICAL.input + (change.output ?? 0) * TYPICAL.output) / 1e6;
const flags = (found = []) =>
  found.map((flag) =>
    h("small.why", {}, h("b", {}, FLAGS[flag.kind] ?? flag.kind), ` ${fullDay(flag.at)}: ${flag.text}`),
  );

function changes(found) {
  const all = found
    .flatMap(([id, one]) => one.changes.slice(1).map((change, index) => ({ id, change, was: one.changes[index] })))
    .sort((a, b) => b.change.at - a.change.at);
  byId("changes").hidden = !all.length;
  put(byId("changes").firstElementChild, `${all.length} changes with date and source`);
  fill(
    byId("changes").lastElementChild,
    ...all
      .slice(0, 100)
      .map(({ id, change, was }) =>
        h(
          "li",
          { "data-endpoint": id },
          h("span.quiet", {}, fullDay(change.at)),
          " ",
          dot(id),
          h("b", {}, id),
          ` ${moved("in", was.input, change.input)}, ${moved("out", was.output, change.output)} `,
          h("span.quiet", {}, `from ${change.source}`),
        ),
      ),
  );
}

const moved = (word, was, now) => (was === now ? `${word} ${price(now)}` : `${word} ${price(was)} → ${price(now)}`);
