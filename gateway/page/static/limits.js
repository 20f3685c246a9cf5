// Limits: what keys, groups of keys and apps have used of their limits and budgets.

import { byId, fill, h, put, sync } from "./dom.js";
import { over } from "./definitions.js";
import { clock, count, day, fullDay, seconds, share, tokens, usd } from "./format.js";
import { figure, heads, row } from "./tables.js";

const COLUMNS = [
  { key: "of", text: "Key, group or app" },
  { key: "share", text: "Share used" },
  { key: "used", def: "limit-used", num: true },
  { key: "left", def: "limit-left", num: true },
  { key: "limit", def: "limit", num: true },
  { key: "resets", def: "limit-resets", num: true },
];
const UNITS = {
  requests_per_minute: [count, "requests a minute"],
  tokens_per_minute: [tokens, "tokens a minute"],
  usd_per_day: [usd, "a day"],
  usd_per_month: [usd, "a month"],
};

export function show({ limits, model }) {
  const found = limits?.limits ?? [];
  const any = found.length > 0 || limits?.hidden > 0;
  byId("limits").hidden = !any;
  byId("limits-anchor").hidden = !any;
  if (!any) return;
  over("limit", () => `${found.length} ${found.length === 1 ? "limit" : "limits"}.`);
  put(byId("limits-note"), note(limits));
  byId("limits-note").hidden = !note(limits);
  const table = byId("limit-table");
  table.hidden = !found.length;
  heads(table, COLUMNS);
  sync(
    table.tBodies[0],
    found,
    (one) => `${one.scope} ${one.name} ${one.limit}`,
    () => row(COLUMNS),
    (line, one) => limit(line.cells, one, model.at),
  );
}

function limit(cells, one, now) {
  const [show, words] = UNITS[one.limit];
  const used = Math.min(1, one.used / one.bound);
  fill(cells[0], h("span", {}, h("b", {}, one.name)), h("small", {}, who(one)));
  const grade = one.remaining <= 0 ? "bad" : used >= 0.9 ? "warn" : "good";
  fill(cells[1], h("span.bar-line", { "aria-hidden": "true" }, h("i.part", { "--w": used, "data-grade": grade })));
  figure(cells[2], show(one.used), share(one.used / one.bound));
  figure(cells[3], show(one.remaining));
  figure(cells[4], show === usd && Number.isInteger(one.bound) ? `$${count(one.bound)}` : show(one.bound), words);
  const left = Math.max(0, one.resets_at - now);
  const wait = left < 99 ? `${Math.ceil(left)} s` : seconds(left);
  figure(cells[5], `in ${wait}`, left > 86_400 ? day(one.resets_at) : clock(one.resets_at));
}

const who = ({ scope, hash, expires }) =>
  [scope, hash, expires && `expires ${fullDay(expires)}`].filter(Boolean).join(" · ");

function note({ hidden, more }) {
  const keys = (number) => (number === 1 ? "key or group" : "keys and groups");
  if (hidden) return `Limits of ${count(hidden)} ${keys(hidden)} are shown only if GATEWAY_ADMIN_KEY is set.`;
  return more ? `${count(more)} more ${keys(more)} have limits: GET /api/v1/keys lists all keys.` : "";
}
