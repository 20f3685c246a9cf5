// The table of endpoints, who would be chosen now by each policy, and the endpoints that are not used.

import { dot } from "./colours.js";
import { attribute, byId, fill, h, put, sync } from "./dom.js";
import { over, title } from "./definitions.js";
import {
  RANGE_WORDS,
  SMALL,
  context,
  count,
  percent,
  price,
  ratio,
  seconds,
  share,
  speed,
  tokens,
  usd,
} from "./format.js";
import { choose, chosen } from "./state.js";
import { AMONG, policy, showPicks } from "./picks.js";
import { strip } from "./strip.js";
import { figure, heads, row, sorted } from "./tables.js";

const COLUMNS = [
  { key: "endpoint", text: "Endpoint", def: "endpoint", sort: (one) => one.id, fill: named },
  {
    key: "list",
    def: "list-price",
    num: true,
    sort: (one) => one.price?.input,
    fill: (cell, one) => figure(cell, price(one.price?.input), one.price ? `out ${price(one.price.output)}` : ""),
  },
  {
    key: "effective",
    def: "effective-input",
    num: true,
    sort: (one) => one.total?.effective_input,
    fill: (cell, one) => sampled(cell, usd(one.total?.effective_input, one.total?.requests), "", one.total?.requests),
  },
  {
    key: "hit",
    def: "cache-hit",
    num: true,
    sort: hit,
    fill: (cell, one) => sampled(cell, share(hit(one)), "", one.total?.requests),
  },
  {
    key: "ttft",
    def: "ttft",
    num: true,
    sort: (one) => one.total?.ttft?.p50,
    fill: (cell, one) => quantity(cell, one.total?.ttft, seconds),
  },
  {
    key: "latency",
    def: "latency",
    num: true,
    sort: (one) => one.total?.latency?.p50,
    fill: (cell, one) => quantity(cell, one.total?.latency, seconds),
  },
  {
    key: "throughput",
    def: "throughput",
    num: true,
    sort: (one) => one.total?.throughput?.p50,
    fill: (cell, one) => quantity(cell, one.total?.throughput, speed),
  },
  {
    key: "tools",
    def: "tool-calls",
    num: true,
    sort: (one) => ratio(one.total?.tool_calls_ok, one.total?.tool_calls),
    fill: (cell, one) =>
      sampled(
        cell,
        percent(ratio(one.total?.tool_calls_ok, one.total?.tool_calls), one.total?.tool_calls),
        "",
        one.total?.tool_calls,
      ),
  },
  { key: "uptime", text: "Uptime", def: "uptime", num: true, sort: (one) => one.uptime.share, fill: uptime },
  {
    key: "share",
    def: "traffic",
    num: true,
    sort: (one) => one.share,
    fill: (cell, one) => figure(cell, share(one.share), one.total?.attempts ? count(one.total.attempts) : ""),
  },
];
const SHAPES = { "in use": "good", "on trial": "warn", "set back": "bad" };
let opened = null;

export function show({ model, history }) {
  const used = model.endpoints.filter((one) => one.state !== "unused" && one.state !== "retired");
  const attempts = history?.all.total.attempts;
  const rows = used.map((one) => {
    const total = history?.endpoints[one.id]?.total;
    return {
      ...one,
      total,
      share: ratio(total?.attempts, attempts),
      days: history?.days.endpoints[one.id],
      uptime: month(history?.days.endpoints[one.id]),
    };
  });
  for (const { def } of COLUMNS)
    over(
      def,
      () =>
        `${count(attempts ?? 0)} attempts in the ${RANGE_WORDS[chosen.range]}; figures of fewer than ${SMALL} samples are dimmed.`,
    );
  showPicks(model);
  table(order(rows), model);
  idle(model.endpoints.filter((one) => !used.includes(one)));
}

function order(rows) {
  const key = chosen.sort || "-share";
  const column = COLUMNS.find((one) => one.key === key.replace(/^-/, "")) ?? COLUMNS.at(-1);
  return sorted(rows, column.sort, key.startsWith("-"));
}

function toggle(key) {
  const now = chosen.sort || "-share";
  choose({
    sort:
      now === key
        ? `-${key}`
        : now === `-${key}`
          ? key
          : ["hit", "throughput", "tools", "uptime", "share"].includes(key)
            ? `-${key}`
            : key,
  });
}

function table(rows, model) {
  const node = byId("endpoint-table");
  heads(node, COLUMNS, chosen.sort || "-share", toggle);
  const select = byId("sort-choice");
  if (!select.options.length) {
    select.append(...COLUMNS.map((one) => h("option", { value: one.key }, one.text ?? title(one.def))));
    select.addEventListener("change", () => toggle(select.value));
  }
  select.value = (chosen.sort || "-share").replace(/^-/, "");
  const items = rows.flatMap((one) => (one.id === opened ? [one, { ...one, detail: true }] : [one]));
  const create = (one) =>
    one.detail
      ? h("tr.detail", { role: "row" }, h("td", { role: "cell", colspan: COLUMNS.length }))
      : row(COLUMNS, { "data-endpoint": one.id });
  sync(
    node.tBodies[0],
    items,
    (one) => one.id + (one.detail ? "+" : ""),
    create,
    (line, one) => {
      if (one.detail) return details(line.cells[0], one);
      attribute(line, "data-state", one.state);
      COLUMNS.forEach((column, index) => column.fill(line.cells[index], one, model));
      return undefined;
    },
  );
}

function named(cell, one, model) {
  if (!cell.firstChild) {
    const open = () => {
      opened = opened === one.id ? null : one.id;
      choose({});
    };
    cell.append(
      h("button.name", { type: "button", onclick: open }, dot(one.id), h("span", {}, one.id)),
      h("span.chips"),
      h("small"),
      h("small.why"),
    );
  }
  attribute(cell.firstChild, "aria-expanded", String(opened === one.id));
  const choosing = Object.entries(model.picks ?? {})
    .filter(([name, pick]) => pick.endpoint === one.id && [...AMONG, policy(model)].includes(name))
    .map(([name]) => name);
  sync(
    cell.children[1],
    choosing,
    (name) => name,
    (name) => h("button.chip", { type: "button", onclick: () => choose({ policy: name }) }, name),
    (node, name) => {
      attribute(node, "aria-pressed", String(name === policy(model)));
      attribute(node, "aria-label", `${name} would choose ${one.id} now`);
    },
  );
  fill(
    cell.children[2],
    h("span.state", { "data-shape": SHAPES[one.state] ?? "none" }, one.state),
    ` · ${one.quantization ?? "unknown"} · ${context(one.context)}`,
  );
  const why =
    one.state === "in use"
      ? ""
      : one.why +
        (one.until
          ? `, until ${new Date(one.until * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false })}`
          : "");
  put(cell.children[3], why);
  cell.children[3].hidden = !why;
}

function hit(one) {
  return ratio(one.total?.cached, one.total?.prompt);
}

function sampled(cell, text, under, n) {
  const few = n > 0 && n < SMALL;
  figure(cell, text, few ? `n ${n}` : under, few);
}

function quantity(cell, found, format) {
  if (!found?.n) return figure(cell, format(null), "");
  const few = found.n < SMALL;
  return figure(cell, format(found.p50, found.n), few ? `n ${found.n}` : `p95 ${format(found.p95, found.n)}`, few);
}

const month = (days) => {
  const [judged, ok] = ["judged", "ok"].map((name) => (days ?? []).reduce((sum, day) => sum + (day[name] ?? 0), 0));
  return { n: judged, share: ratio(ok, judged) };
};

function uptime(cell, one) {
  if (!cell.firstChild) cell.append(h("span"), h("div.days.mini", { "aria-hidden": "true" }));
  const few = one.uptime.n > 0 && one.uptime.n < SMALL;
  cell.classList.toggle("few", few);
  put(cell.firstChild, percent(one.uptime.share, one.uptime.n) + (few ? ` · n ${one.uptime.n}` : ""));
  strip(cell.children[1], one.days ?? [], "attempts", "judged", "ok");
}

function details(cell, one) {
  const total = one.total;
  const facts = [
    ["State", `${one.state}${one.why ? `: ${one.why}` : ""}`],
    ["Capabilities", (one.capabilities ?? []).join(", ") || "not known"],
    ["Max output", one.max_output ? `${context(one.max_output)} tokens` : "not known"],
    [
      "List price",
      one.price
        ? `${price(one.price.input)} in, ${one.price.cached_input === null ? "no cache discount" : `${price(one.price.cached_input)} cached`}, ${price(one.price.output)} out per 1M, as of ${one.price.as_of}`
        : "not known",
    ],
    ["Published uptime", one.published_uptime ? percent(one.published_uptime) : "none"],
    ["In flight", count(one.in_flight)],
    ["Traffic", share(one.share)],
    ["Latency", total?.latency.n ? `${seconds(total.latency.p50)}, p95 ${seconds(total.latency.p95)}` : "none"],
    ["Cache hit", share(hit(one))],
    ["Tool calls", total?.tool_calls ? `${count(total.tool_calls_ok)} right of ${count(total.tool_calls)}` : "none"],
    [
      "Attempts",
      total ? `${count(total.attempts)}, of which ${count(total.judged)} judged, ${count(total.ok)} ok` : "none",
    ],
    ["Tokens", total ? `${tokens(total.prompt)} in, ${tokens(total.completion)} out` : "none"],
    ["Cost", total ? `${usd(total.cost_usd)}, list ${usd(total.list_usd)}` : "none"],
  ];
  fill(cell, h("dl.facts", {}, ...facts.map(([label, value]) => h("div", {}, h("dt", {}, label), h("dd", {}, value)))));
}

function idle(rest) {
  const box = byId("idle");
  box.hidden = !rest.length;
  const unused = rest.filter((one) => one.state === "unused").length;
  const parts = [
    unused ? `${unused} unused` : "",
    rest.length - unused ? `${rest.length - unused} retired` : "",
  ].filter(Boolean);
  put(box.firstElementChild, `${parts.join(" and ")} in the catalogue`);
  sync(
    box.lastElementChild,
    rest,
    (one) => one.id,
    () => h("li"),
    (node, one) => {
      const set = one.set ? `set ${one.set} to use it` : one.why;
      fill(
        node,
        h("b", {}, one.id),
        h("span.state", { "data-shape": "none" }, one.state),
        h(
          "span.quiet",
          {},
          [set, one.price ? `${price(one.price.input)} in, ${price(one.price.output)} out` : ""]
            .filter(Boolean)
            .join(" · "),
        ),
      );
    },
  );
}
