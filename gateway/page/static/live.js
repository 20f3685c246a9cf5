// The last exchanges, newest first. The list stands still while one reads it; new ones wait behind a button.

import { dot } from "./colours.js";
import { attribute, byId, fill, h, put, sync } from "./dom.js";
import { shown as showExchange } from "./exchange.js";
import { clockSeconds, seconds, tokens, usd } from "./format.js";
import { read, unreachable } from "./net.js";
import { choose, chosen, onChoice } from "./state.js";
import { figure, heads, row } from "./tables.js";

const MOST = 50; // rows while the list runs: more make the page long, and are a click away
const KINDS = ["failed", "slow", "hedged", "retried"];
const COLUMNS = [
  { key: "ended", def: "ended", text: "Ended" },
  { key: "outcome", def: "outcome", text: "Outcome" },
  { key: "endpoint", def: "answered-by", text: "Answered by" },
  { key: "policy", text: "Policy and app" },
  { key: "ttft", def: "client-ttft", text: "TTFT", num: true },
  { key: "seconds", def: "client-duration", text: "Time", num: true },
  { key: "tokens", def: "exchange-tokens", text: "Tokens", num: true },
  { key: "cost", def: "exchange-cost", text: "Cost", num: true },
];
let model = null;
let page = null;
let rows = [];
let waiting = [];
let arrived = []; // since the list was last requested: its answer may be older
let more = false;
let opened = null;
let ready = false;

export function show(now) {
  page = now;
  model = now.model.model.id;
  filters();
  draw();
}

export async function reload() {
  if (!model) return;
  arrived = [];
  const found = await read("exchanges.json", query());
  [rows, more, ready] = [found.exchanges, found.more, true];
  waiting = arrived.filter((one) => wanted(one) && !rows.some((old) => old.id === one.id));
  if (!reading()) merge();
  draw();
}

export function add(one) {
  arrived = [one, ...arrived].slice(0, MOST);
  if (!ready || !wanted(one) || [...rows, ...waiting].some((old) => old.id === one.id)) return;
  waiting = [one, ...waiting].slice(0, MOST);
  if (!reading()) merge();
  draw();
}

// Whether somebody reads the list: a row is open, the pointer or the focus is in it, or it was scrolled into.
function reading() {
  const table = byId("live-table");
  return (
    opened !== null ||
    table.matches(":hover") ||
    table.contains(document.activeElement) ||
    table.getBoundingClientRect().top < 0
  );
}

function merge() {
  const all = [...waiting, ...rows];
  more ||= all.length > MOST;
  rows = all.slice(0, MOST);
  waiting = [];
}

const kinds = () => chosen.kind.split(",").filter((one) => KINDS.includes(one));
const failed = (one) => !["ok", "cached", "cancelled"].includes(one.outcome);
const query = () => ({
  model,
  kind: kinds().join(","),
  policy: chosen.by,
  endpoint: chosen.endpoint,
  app: chosen.app,
  limit: "20",
});

function wanted(one) {
  const is = { failed: failed(one), slow: one.slow, hedged: one.hedged, retried: one.retried };
  const kind = kinds();
  const same =
    (!chosen.by || one.policy === chosen.by) &&
    (!chosen.app || one.app === chosen.app) &&
    (!chosen.endpoint || one.endpoints.includes(chosen.endpoint));
  return same && (!kind.length || kind.some((name) => is[name]));
}

function filters() {
  const box = byId("filters");
  if (!box.firstChild) {
    const toggle = (kind) =>
      choose({ kind: (kinds().includes(kind) ? kinds().filter((one) => one !== kind) : [...kinds(), kind]).join(",") });
    box.append(
      h(
        "div.choice",
        { role: "group", "aria-label": "Kinds" },
        ...KINDS.map((kind) => h("button", { type: "button", "data-kind": kind, onclick: () => toggle(kind) }, kind)),
      ),
    );
    for (const [name, words] of [
      ["by", "Policy"],
      ["endpoint", "Endpoint"],
      ["app", "App"],
    ]) {
      const select = h("select", { "aria-label": words, onchange: (event) => choose({ [name]: event.target.value }) });
      box.append(h("label.pick", {}, select));
    }
  }
  for (const button of box.firstChild.children)
    attribute(button, "aria-pressed", String(kinds().includes(button.dataset.kind)));
  const used = page.model.endpoints
    .filter((one) => one.state !== "unused" && one.state !== "retired")
    .map((one) => one.id);
  const values = {
    by: page.model.policies.in_force.map((one) => one.name),
    endpoint: used,
    app: Object.keys(page.history?.apps ?? {}).filter((one) => one && one !== "other"),
  };
  [
    ["by", "All policies"],
    ["endpoint", "All endpoints"],
    ["app", "All apps"],
  ].forEach(([name, all], index) => {
    const select = box.children[index + 1].firstChild;
    const options = ["", ...new Set([...values[name], chosen[name]].filter(Boolean))];
    sync(
      select,
      options,
      (value) => value,
      (value) => h("option", { value }, value || all),
    );
    select.value = chosen[name];
  });
}

function draw() {
  const table = byId("live-table");
  heads(table, COLUMNS);
  const fresh = byId("live-new");
  fresh.hidden = !waiting.length;
  put(fresh, `${waiting.length}${waiting.length === MOST ? "+" : ""} new`);
  byId("live-empty").hidden = rows.length > 0 || !ready;
  table.hidden = !rows.length;
  const filtered = chosen.kind || chosen.by || chosen.endpoint || chosen.app;
  put(
    byId("live-empty"),
    filtered ? "No exchange matches these filters." : "No exchange yet. The first one appears here within seconds.",
  );
  byId("live-more").hidden = !more;
  const items = rows.flatMap((one) => (one.id === opened ? [one, { id: one.id, detail: true }] : [one]));
  const create = (one) =>
    one.detail
      ? h("tr.detail", { role: "row" }, h("td", { role: "cell", colspan: COLUMNS.length }))
      : row(COLUMNS, { "data-endpoint": one.endpoint });
  sync(
    table.tBodies[0],
    items,
    (one) => one.id + (one.detail ? "+" : ""),
    create,
    (line, one) => {
      if (one.detail) showExchange(line.cells[0], one.id);
      else exchange(line, one);
    },
  );
}

function exchange(line, one) {
  if (!line.cells[0].firstChild)
    line.cells[0].append(h("button.name.time", { type: "button", onclick: () => open(one.id) }));
  attribute(line.cells[0].firstChild, "aria-expanded", String(opened === one.id));
  put(line.cells[0].firstChild, clockSeconds(one.ended));
  if (line.dataset.filled) return;
  line.dataset.filled = "yes";
  const notes = [one.attempts > 1 ? `${one.attempts} attempts` : "", one.hedged ? "hedged" : "", one.slow ? "slow" : ""]
    .filter(Boolean)
    .join(", ");
  const shape = failed(one) ? "bad" : one.outcome === "cancelled" ? "none" : "good";
  fill(
    line.cells[1],
    h("span.state", { "data-shape": shape }, one.outcome.replaceAll("_", " ")),
    h("small", {}, notes || (one.status === 200 ? "" : `HTTP ${one.status}`)),
  );
  fill(
    line.cells[2],
    ...(one.endpoint
      ? [h("span.name", {}, dot(one.endpoint), h("span", {}, one.endpoint))]
      : [h("span.quiet", {}, one.outcome === "cached" ? "response cache" : "none")]),
    one.endpoint || !one.endpoints.length ? null : h("small", {}, `tried ${one.endpoints.join(", ")}`),
  );
  figure(line.cells[3], one.policy, one.app ?? "");
  figure(line.cells[4], seconds(one.ttft));
  figure(line.cells[5], seconds(one.seconds));
  figure(line.cells[6], `${tokens(one.prompt)} in`, `${tokens(one.completion)} out`);
  figure(line.cells[7], usd(one.cost_usd), one.cached ? `${tokens(one.cached)} cached` : "");
}

function open(id) {
  opened = opened === id ? null : id;
  draw();
}

async function older() {
  const found = await read("exchanges.json", { ...query(), before: rows.at(-1)?.id });
  rows = [...rows, ...found.exchanges.filter((one) => !rows.some((old) => old.id === one.id))];
  more = found.more;
  draw();
}

byId("live-new").addEventListener("click", () => {
  opened = null;
  merge();
  draw();
});
byId("live-more").addEventListener("click", () => older().catch(unreachable(() => (byId("live-more").hidden = true))));
onChoice((changes) => {
  if (["kind", "by", "endpoint", "app"].some((name) => name in changes)) reload().catch(unreachable(() => {}));
});
