// The head of the page: what the model is, what is known about it and from where, and what to copy; notes above it.

import { attribute, byId, copy, fill, h, put, sync } from "./dom.js";
import { name } from "./definitions.js";
import { context, fullDay, price } from "./format.js";
import { base } from "./state.js";

const range = ([from, to]) => (from === to ? price(from) : `${price(from)} – ${price(to)}`);
const day = (value) =>
  typeof value === "number" ? fullDay(value) : value && fullDay(Date.parse(`${value.slice(0, 10)}T00:00Z`) / 1000);

const CANARIES = { tools: "tool_call", json_schema: "json" }; // that test a capability

// What probes say comes first: they have seen it.
function source({ name, source }, probes) {
  const found = Object.values(probes?.endpoints ?? {}).flatMap((one) => one.canaries?.[CANARIES[name]] ?? []);
  const of = found.reduce((sum, one) => sum + one.of, 0);
  if (!of) return `Source: ${source}`;
  const passed = found.reduce((sum, one) => sum + one.passed, 0);
  const last = fullDay(Math.max(...found.map((one) => one.last ?? 0)));
  return `Sources: probes: ${passed} of ${of} answers right, the last on ${last}; ${source}`;
}

export function show({ model: { model, policies, config_problems, version, build, at }, probes }) {
  document.title = `${model.name} · LLM gateway`;
  put(byId("author"), model.author ?? "");
  put(byId("name"), model.name);
  put(byId("description"), model.description ?? "");
  facts(model);
  sync(
    byId("capabilities"),
    model.capabilities ?? [],
    (one) => one.name,
    (one) => h("li", {}, h("details.chip", {}, h("summary", {}, one.name), h("span", {}))),
    (node, one) => put(node.querySelector("span"), source(one, probes)),
  );
  fields(model);
  const reasoning = byId("reasoning");
  reasoning.hidden = !model.reasoning;
  const parts = (model.reasoning ?? "").split("`"); // every second one is code
  fill(reasoning, ...parts.map((text, index) => (index % 2 ? h("code", {}, text) : text)));
  notes(model, policies, config_problems);
  fill(
    byId("foot"),
    h("span", {}, `LLM gateway ${version ?? ""}${build ? `, ${build}` : ""}`),
    h("a", { href: `${base}metrics` }, "Metrics"),
  );
}

function facts(model) {
  const { input = [], output = [] } = model.modalities ?? {};
  const prices = model.price ?? {};
  const rows = [
    ["context", model.context ? `${context(model.context)} tokens` : null],
    ["max-output", model.max_output ? `${context(model.max_output)} tokens` : null],
    ["modalities", input.length ? `${input.join(", ")} → ${output.join(", ")}` : null],
    ["released", day(model.released)],
    ["list-input", prices.input ? `${range(prices.input)} / 1M` : null],
    ["list-cached", prices.cached_input ? `${range(prices.cached_input)} / 1M` : null],
    ["list-output", prices.output ? `${range(prices.output)} / 1M` : null],
  ].filter(([, value]) => value);
  sync(
    byId("facts"),
    rows,
    ([id]) => id,
    ([id]) => h("div", {}, h("dt", {}, name(h("button.what", { "data-def": id }))), h("dd")),
    (node, [, value]) => put(node.lastChild, value),
  );
}

function fields(model) {
  const rows = [
    ["Model id", model.id],
    ["Base URL", new URL((model.base_url_path ?? "/v1").replace(/^\//, ""), base).href],
  ];
  const create = ([label]) => {
    const code = h("code");
    return h(
      "div.field",
      {},
      h("span", {}, label),
      code,
      h(
        "button.plain",
        { type: "button", "aria-label": `Copy ${label}`, onclick: (event) => copy(event.currentTarget, code) },
        "Copy",
      ),
    );
  };
  sync(
    byId("fields"),
    rows,
    ([label]) => label,
    create,
    (node, [, value]) => put(node.querySelector("code"), value),
  );
}

function notes(model, policies, config_problems) {
  byId("simulated").hidden = !model.simulated;
  put(byId("simulated"), "The hosts behind this gateway are simulated: answers, prices paid and times are invented.");
  const rejected = [
    ["gateway.yaml was rejected; the configuration loaded before stays in force.", config_problems ?? []],
    ["Policy files were rejected; the policies loaded before stay in force.", policies?.problems ?? []],
  ].filter(([, problems]) => problems.length);
  attribute(byId("problems"), "hidden", rejected.length ? null : "");
  fill(
    byId("problems"),
    ...rejected.flatMap(([what, problems]) => [
      h("b", {}, what),
      h("ul", {}, ...problems.map((one) => h("li", {}, one))),
    ]),
  );
}
