// One exchange: its attempts on one time axis, with what was said at their ends, and the plan that it followed.

import { dot, variable } from "./colours.js";
import { fill, h } from "./dom.js";
import { count, seconds, share, usd } from "./format.js";
import { read, unreachable } from "./net.js";
import { bars } from "./ranked.js";

const PICKED = {
  best: "it has the best score",
  sample: "drawn from those with a score close to the best",
  explore: "chosen to learn about it, because it has few recent samples",
  stays: "the conversation stays where its prompt is cached",
  fixed: "the policy pins it",
  only: "the only one in the best tier",
  none: "no endpoint was left",
};
const HEDGES = new Set(["won", "lost", "failed", "cancelled"]); // results of an attempt that was a hedge
const known = new Map(); // exchanges that were read; bounded, the oldest goes first
const MOST = 50;

export async function shown(cell, id) {
  if (cell.dataset.shown === id) return;
  cell.dataset.shown = id;
  fill(cell, h("p.quiet", {}, "Reading…"));
  const found =
    known.get(id) ?? (await read(`exchanges/${encodeURIComponent(id)}.json`).catch(unreachable(() => null)));
  if (!found) {
    delete cell.dataset.shown;
    fill(cell, h("p.quiet", {}, "This exchange is no longer kept, or the gateway cannot be reached."));
    return;
  }
  known.set(id, found);
  if (known.size > MOST) known.delete(known.keys().next().value);
  fill(cell, h("div.exchange"));
  draw(cell.firstChild, found);
}

function draw(box, { exchange, attempts, plan }) {
  const axis = Math.max(0.001, exchange.seconds ?? 0, ...attempts.map((one) => one.ended ?? 0));
  const title = h("div.title", {}, h("h3", {}, "Attempts"), h("code.quiet", {}, exchange.id));
  const none =
    exchange.outcome === "cached"
      ? "Answered from the response cache: no attempt was made and nothing was billed."
      : "No attempt was made.";
  box.append(
    title,
    attempts.length ? h("ol.attempts", {}, ...attempts.map((one) => attempt(one, axis))) : h("p.quiet", {}, none),
  );
  if (attempts.length)
    box.append(
      h(
        "div.axis",
        { "aria-hidden": "true" },
        h("span", {}, "0"),
        h("span", {}, seconds(axis / 2)),
        h("span", {}, seconds(axis)),
      ),
      h(
        "ul.key",
        { "aria-hidden": "true" },
        h("li", {}, h("i.wait"), "waiting"),
        h("li", {}, h("i.stream"), "streaming"),
        h("li", {}, h("i.cut"), "ended without an answer"),
      ),
    );
  if (plan) box.append(...planned(plan, exchange));
  else if (attempts.length) box.append(h("p.quiet", {}, "The plan of this exchange is no longer kept."));
}

function attempt(one, axis) {
  const first = one.first_token ?? one.ended;
  const kind = one.won ? "" : one.outcome === "cancelled" ? "cancelled" : "failed";
  const words = one.won
    ? "answered"
    : one.hedge === "beaten"
      ? "overtaken by the hedge"
      : one.outcome.replaceAll("_", " ");
  const line = h(
    "span.line",
    { "aria-hidden": "true", "--c": `var(${variable(one.endpoint)})` },
    h(`i.wait.${kind || "won"}`, { "--from": one.started / axis, "--to": first / axis }),
    one.first_token === null || one.first_token === undefined
      ? null
      : h(`i.stream.${kind || "won"}`, { "--from": first / axis, "--to": one.ended / axis }),
  );
  const times = `${one.started ? seconds(one.started) : "0"} to ${seconds(one.ended)}${one.first_token === null || one.first_token === undefined ? "" : `, first token at ${seconds(one.first_token)}`}`;
  const facts = [
    times,
    one.status ? `HTTP ${one.status}` : "",
    one.tokens ? `${count(one.tokens)} tokens` : "",
    one.cost_usd ? usd(one.cost_usd) : "",
  ]
    .filter(Boolean)
    .join(" · ");
  const who = h(
    "span.who",
    {},
    dot(one.endpoint),
    h("b", {}, one.endpoint),
    h("span.state", { "data-shape": one.won ? "good" : kind === "cancelled" ? "none" : "bad" }, words),
    HEDGES.has(one.hedge) ? h("span.chip", {}, "hedge") : null,
  );
  return h(
    "li",
    { "data-endpoint": one.endpoint },
    who,
    line,
    h("small", {}, facts, one.said ? h("q", {}, one.said) : null),
  );
}

function planned(plan, exchange) {
  const first = plan.ranked[0];
  const lead = [
    `Policy ${plan.policy}, about ${count(plan.prompt_tokens)} prompt tokens and ${count(plan.expected_output_tokens)} output tokens expected.`,
    first
      ? `First choice ${first.endpoint}: ${PICKED[plan.picked_by] ?? plan.picked_by}${first.odds < 0.995 ? ` (${share(first.odds)})` : ""}.`
      : "No endpoint was left.",
    plan.relaxed ? `Relaxed, because no endpoint met it: ${plan.relaxed}.` : "",
  ];
  const list = h("div.bars");
  const ranked = plan.ranked.map((one) => ({
    endpoint: one.endpoint,
    usd: one.expected_usd,
    time_usd: one.time_usd,
    risk_usd: one.risk_usd,
    seconds: one.expected_s,
    risk: one.failure_probability,
    behind: one.behind_because,
  }));
  bars(list, ranked, plan.dropped, exchange.endpoint, "answered");
  return [h("h3", {}, "Plan"), h("p", {}, lead.filter(Boolean).join(" ")), list];
}
