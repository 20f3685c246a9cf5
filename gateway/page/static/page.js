// The model page: polls data.json every 2 s and updates the page. Text is inserted as text, never as HTML.

const EVERY = 2000; // ms
const NONE = "–";
const byId = (id) => document.getElementById(id);
const titles = (table) => [...table.tHead.rows[0].cells].map((cell) => cell.textContent);

let pinned = null; // id of the exchange whose plan is shown; null: the newest
let shown = null; // the latest data

// Formatters: each figure with its unit.

const grouped = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat("en-US", { notation: "compact", maximumSignificantDigits: 3 });
const cents = new Intl.NumberFormat("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const small = new Intl.NumberFormat("en-US", { maximumSignificantDigits: 3 });
const dollars = (value) => `$${Math.abs(value * 100 - Math.round(value * 100)) < 1e-9 ? cents.format(value) : small.format(value)}`;
const known = (write) => (value) => (value === null || value === undefined ? NONE : write(value));

const count = known((value) => (value < 100_000 ? grouped : compact).format(value));
const usd = known((value) => (value < 1 ? dollars(value) : `$${cents.format(value)}`));
const price = known(dollars); // three significant digits, or cents if exact
const seconds = known((value) => (value < 1 ? `${Math.round(value * 1000)} ms` : `${value.toFixed(value < 10 ? 2 : 1)} s`));
const percent = known((value) => `${(Math.floor(value * 1000 + 1e-6) / 10).toFixed(1)}%`); // 99.97% is not 100%
const speed = known((value) => `${value.toFixed(value < 10 ? 1 : 0)} tok/s`);
const context = (tokens) => `${Math.round(tokens / 1000)}K`;
const range = known(([low, high]) => (low === high ? price(low) : `${price(low)} – ${price(high)}`));
const clock = (unix) => new Date(unix * 1000).toLocaleTimeString([], { hour12: false });

// Elements are created once; updates change only their text, so that layout and focus are stable.

function put(node, text, title = "") {
  if (node.textContent !== text) node.textContent = text;
  if (node.title !== title) node.title = title;
}

function make(tag, className = "", text = "") {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.textContent = text;
  return node;
}

function sync(parent, items, keyOf, create, fill) {
  const old = new Map([...parent.children].map((node) => [node.dataset.key, node]));
  items.forEach((item, index) => {
    const key = keyOf(item);
    const node = old.get(key) ?? create(item);
    old.delete(key);
    node.dataset.key = key;
    if (parent.children[index] !== node) parent.insertBefore(node, parent.children[index] ?? null);
    fill(node, item);
  });
  for (const node of old.values()) node.remove();
}

function makeRow(labels) {
  const row = make("tr");
  row.setAttribute("role", "row");
  for (const label of labels) {
    const cell = row.appendChild(make("td"));
    cell.setAttribute("role", "cell");
    cell.dataset.label = label;
  }
  return row;
}

function twoLines(cell, text, under, title = "") {
  if (!cell.firstChild) cell.append(make("span"), make("small"));
  put(cell.firstChild, text, title);
  put(cell.lastChild, under, under);
}

function badge(cell, text, kind, title = "") {
  const node = cell.firstChild ?? cell.appendChild(make("span"));
  node.className = `badge ${kind}`;
  put(node, text, title);
}

// Panels

function showProblems(problems) {
  byId("problems").hidden = !problems.length;
  sync(byId("problem-list"), problems, (text) => text, () => make("li"), put);
}

function showModels({ models, policies }) {
  const create = () => byId("model").content.firstElementChild.cloneNode(true);
  sync(byId("models"), models, (model) => model.id, create, (node, model) => {
    put(node.querySelector("h1"), model.name);
    put(node.querySelector(".id"), model.id);
    const unused = model.unused.length ? `, ${model.unused.length} not in use` : "";
    const facts = [
      `${context(model.context)} tokens`,
      `${range(model.input_usd)} per 1M`,
      `${range(model.output_usd)} per 1M`,
      `${model.endpoints.length} in use${unused}`,
    ];
    node.querySelectorAll("dd").forEach((fact, index) => put(fact, facts[index]));
  });
  sync(byId("policies"), policies.in_force, (one) => one.name, () => make("li"), (node, one) => {
    const isDefault = one.name === policies.default;
    node.className = isDefault ? "default" : "";
    put(node, isDefault ? `${one.name} (default)` : one.name, one.about);
  });
  document.title = `${models.map((model) => model.name).join(", ")} · LLM gateway`;
}

function showStart({ models, totals }) {
  const used = models.some((model) => model.endpoints.length);
  byId("start").hidden = used && totals.requests > 0;
  const text = used
    ? "No request has ended yet. Send the first one with a snippet under “Try it”; it shows here within 3 seconds."
    : "No endpoint is in use. Set the API key of at least one host in the gateway's environment, or add an endpoint " +
      "of your own under models: in gateway.yaml, and restart the gateway.";
  put(byId("start-text"), text);
  const unused = models.flatMap((model) => model.unused);
  const keys = used ? [] : unused.filter((one) => one.set).map((one) => `${one.set} for ${one.id}`);
  sync(byId("start-list"), keys, (key) => key, () => make("li"), put);
}

function showTotals(totals) {
  const tokens = totals.prompt_tokens + totals.completion_tokens;
  const cached = totals.prompt_tokens ? totals.cached_tokens / totals.prompt_tokens : null;
  const figures = [
    [count(totals.requests), `${count(totals.in_flight)} in flight`],
    [percent(totals.success), "of requests"],
    [seconds(totals.ttft_p50), "median first token"],
    [seconds(totals.ttft_p95), "slowest 5%"],
    [compact.format(tokens), `${compact.format(totals.prompt_tokens)} in, ${compact.format(totals.completion_tokens)} out`],
    [usd(totals.cost_usd), "billed by hosts"],
    [usd(totals.usd_per_million), cached === null ? "per 1M tokens" : `${percent(cached)} cached`],
    [count(totals.cache_hits), `of ${count(totals.cache_asked)} lookups`],
  ];
  [...byId("totals").children].forEach((tile, index) => {
    const [main, under] = tile.querySelectorAll("dd");
    put(main, figures[index][0]);
    put(under, figures[index][1], figures[index][1]);
  });
}

const STATES = { closed: "good", "half-open": "warn", open: "bad" };

function why(one) {
  if (one.state === "open") return `${one.why}: half-open in ${Math.ceil(one.opens_in_s)} s`;
  if (one.state === "half-open") return `${one.why}: probing`;
  return one.rate_limited_s > 0 ? `rate limited for ${Math.ceil(one.rate_limited_s)} s` : "";
}

function showEndpoints(models) {
  const table = byId("endpoints");
  const labels = titles(table);
  const create = () => {
    const body = make("tbody");
    body.setAttribute("role", "rowgroup");
    return body;
  };
  const bodies = [...table.tBodies];
  models.forEach((model, index) => {
    const body = bodies[index] ?? table.appendChild(create());
    const rows = models.length > 1 ? [{ id: model.id, group: model.name }, ...model.endpoints] : model.endpoints;
    sync(body, rows, (one) => one.id, (one) => (one.group ? makeGroup(labels.length) : makeRow(labels)), fillEndpoint);
  });
  const unused = models.flatMap((model) => model.unused);
  const names = unused.map((one) => (one.set ? `${one.id} (set ${one.set})` : one.id)).join(", ");
  put(byId("unused"), names ? `In the catalogue, not in use: ${names}.` : "");
}

function makeGroup(columns) {
  const row = make("tr", "group");
  const cell = row.appendChild(make("th"));
  cell.colSpan = columns;
  cell.scope = "rowgroup";
  return row;
}

function fillEndpoint(row, one) {
  if (one.group) return put(row.firstChild, one.group);
  const cells = row.cells;
  twoLines(cells[0], one.id, `${one.quantization} · ${context(one.context)} context`, one.name);
  if (!cells[1].firstChild) cells[1].append(make("span"), make("small"));
  cells[1].firstChild.className = `badge ${STATES[one.state]}`;
  put(cells[1].firstChild, one.state, "Breaker, as this worker sees it");
  put(cells[1].lastChild, why(one), why(one));
  traffic(cells[2], one);
  put(cells[3], percent(one.success));
  put(cells[4], seconds(one.ttft_p50));
  put(cells[5], seconds(one.ttft_p95));
  put(cells[6], speed(one.throughput_p50));
  const list = one.price;
  if (list) twoLines(cells[7], `${price(list.input)} in, ${price(list.output)} out`, `${price(list.cached_input)} cached in`, `USD per 1M tokens, as of ${list.as_of}`);
  put(cells[8], price(one.effective_input), "USD per 1M prompt tokens");
  put(cells[9], percent(one.cache_hit));
  put(cells[10], usd(one.cost_usd));
  put(cells[11], count(one.in_flight), "Attempts in flight in this worker");
  return undefined;
}

function traffic(cell, one) {
  if (!cell.firstChild) {
    const bar = make("span", "share");
    bar.append(make("i"));
    cell.append(make("span"), bar);
  }
  put(cell.firstChild, percent(one.share), `${grouped.format(one.attempts)} attempts`);
  cell.lastChild.firstChild.style.setProperty("width", `${100 * (one.share ?? 0)}%`);
}

const OUTCOMES = { ok: "good", cached: "good", cancelled: "", malformed: "warn", rejected: "warn" };

function showExchanges({ exchanges, models }) {
  const table = byId("exchanges");
  const labels = titles(table);
  byId("no-exchange").hidden = exchanges.length > 0;
  if (!exchanges.some((one) => one.id === pinned)) pinned = null;
  const chosen = pinned ?? newest(exchanges)?.id;
  sync(table.tBodies[0], exchanges, (one) => one.id, (one) => makeExchange(labels, one, models.length > 1), (row, one) => {
    row.classList.toggle("chosen", one.id === chosen);
    row.querySelector("button").setAttribute("aria-pressed", String(one.id === chosen));
  });
  showPlan(exchanges.find((one) => one.id === chosen));
}

function newest(exchanges) {
  return exchanges.find((one) => one.plan) ?? exchanges[0];
}

function makeExchange(labels, one, several) {
  const row = makeRow(labels);
  const cells = row.cells;
  const button = cells[0].appendChild(make("button", "", clock(one.ended)));
  button.type = "button";
  button.title = one.id;
  if (several) twoLines(cells[1], one.policy, one.model);
  else put(cells[1], one.policy, one.model);
  put(cells[2], one.endpoint || (one.outcome === "cached" ? "response cache" : NONE));
  put(cells[3], count(one.attempts));
  put(cells[4], seconds(one.ttft));
  const cached = `${count(one.cached_tokens)} prompt tokens were read from the host's cache`;
  const used = one.prompt_tokens + one.completion_tokens;
  put(cells[5], used ? `${count(one.prompt_tokens)} in, ${count(one.completion_tokens)} out` : NONE, cached);
  put(cells[6], usd(one.cost_usd));
  badge(cells[7], one.outcome, OUTCOMES[one.outcome] ?? "bad", `HTTP ${one.status} to the client after ${seconds(one.seconds)}`);
  row.addEventListener("click", () => {
    pinned = one.id === newest(shown.exchanges).id ? null : one.id;
    showExchanges(shown);
  });
  return row;
}

const PICKED = {
  best: "it has the best score",
  sample: "sampled from those with a score close to the best",
  explore: "explored, because it has few recent samples",
  stays: "the conversation stays with the best score, which includes the cost of a cold cache",
  fixed: "the policy pins it",
  only: "the only one in the best tier",
  none: "no endpoint was left",
};

function showPlan(exchange) {
  put(byId("plan-of"), pinned ? "the selected exchange" : "the newest exchange sent to an endpoint", exchange?.id);
  const plan = exchange?.plan;
  put(byId("plan-lead"), exchange ? lead(exchange) : "The plan of an exchange shows here.");
  const table = byId("plan");
  const labels = titles(table);
  table.hidden = !plan;
  sync(table.tBodies[0], plan?.ranked ?? [], (one) => one.endpoint, () => makeRow(labels), (row, one) => {
    const cells = row.cells;
    row.classList.toggle("answered", one.endpoint === exchange.endpoint);
    twoLines(cells[0], one.endpoint, one.behind_because ?? "", one.endpoint);
    put(cells[1], usd(one.score_usd));
    put(cells[2], usd(one.expected_usd));
    put(cells[3], seconds(one.expected_s), `first token after ${seconds(one.expected_ttft_s)}`);
    put(cells[4], percent(one.expected_cached_share));
    put(cells[5], percent(one.failure_probability));
  });
  sync(byId("dropped"), plan?.dropped ?? [], (one) => one.endpoint, () => make("li"), (node, one) => {
    if (!node.firstChild) node.append(make("b"), make("span"));
    put(node.firstChild, one.endpoint);
    put(node.lastChild, ` dropped by ${one.rule}: ${one.detail}`);
  });
}

function lead(exchange) {
  const plan = exchange.plan;
  if (!plan) return "Served from the response cache: no request was sent and nothing was billed.";
  const request = `${plan.model}, policy ${plan.policy}, about ${count(plan.prompt_tokens)} prompt tokens, ${count(plan.expected_output_tokens)} output tokens expected. `;
  const first = plan.ranked.length ? `First choice ${plan.ranked[0].endpoint}: ${PICKED[plan.picked_by] ?? plan.picked_by}.` : "No endpoint was left.";
  return request + first + (plan.relaxed ? ` Relaxed, because no endpoint met it: ${plan.relaxed}.` : "");
}

function showTry({ models, policies, needs_key: needsKey }) {
  const base = new URL("v1", location.href).href;
  const select = byId("try-policy");
  sync(select, policies.in_force, (one) => one.name, () => make("option"), (node, one) => {
    const created = !node.value;
    put(node, one.name);
    node.value = one.name;
    if (created && one.name === policies.default) node.selected = true;
  });
  const named = byId("try-model");
  const first = models.find((model) => model.endpoints.length) ?? models[0];
  sync(named, models, (model) => model.id, () => make("option"), (node, model) => {
    const created = !node.value;
    put(node, model.name);
    node.value = model.id;
    if (created && model === first) node.selected = true;
  });
  const model = select.value === policies.default ? named.value : `${named.value}:${select.value}`;
  if (byId("try-url").value !== base) byId("try-url").value = base;
  put(byId("try-curl"), curl(base, model, needsKey));
  put(byId("try-python"), python(base, model, needsKey));
}

function curl(base, model, needsKey) {
  const key = needsKey ? `  -H "authorization: Bearer $GATEWAY_API_KEY" \\\n` : "";
  const body = `{\n    "model": "${model}",\n    "messages": [{"role": "user", "content": "Say hello."}]\n  }`;
  return `curl ${base}/chat/completions \\\n${key}  -H "content-type: application/json" \\\n  -d '${body}'`;
}

function python(base, model, needsKey) {
  const key = needsKey ? 'os.environ["GATEWAY_API_KEY"]' : '"none"';
  const head = needsKey ? "import os\n\n" : "";
  return (
    `${head}from openai import OpenAI\n\nclient = OpenAI(base_url="${base}", api_key=${key})\n` +
    `answer = client.chat.completions.create(\n    model="${model}",\n` +
    `    messages=[{"role": "user", "content": "Say hello."}],\n)\nprint(answer.choices[0].message.content)`
  );
}

async function copy(button) {
  const source = byId(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(source.value ?? source.textContent);
    put(button, "Copied");
  } catch {
    getSelection().selectAllChildren(source); // the clipboard API needs HTTPS: select the text for Ctrl+C
    source.select?.();
    put(button, "Selected");
  }
  setTimeout(() => put(button, "Copy"), 1500);
}

// The loop

function show(data) {
  shown = data;
  showProblems(data.policies.problems);
  showModels(data);
  showStart(data);
  showTotals(data.totals);
  showEndpoints(data.models);
  showExchanges(data);
  showTry(data);
  put(byId("live-at"), clock(data.at), `Served by worker ${data.worker}, ${data.build}`);
}

function showStatus(state, text) {
  byId("live").dataset.state = state;
  put(byId("live-state"), text);
}

async function poll() {
  if (!document.hidden) {
    try {
      const answer = await fetch("page/data.json", { cache: "no-store", signal: AbortSignal.timeout(10_000) });
      if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
      show(await answer.json());
      showStatus("live", "live");
    } catch (error) {
      showStatus("lost", `no response (${error.message}); data as of`);
    }
  }
  setTimeout(poll, EVERY);
}

for (const id of ["try-model", "try-policy"]) byId(id).addEventListener("change", () => showTry(shown));
for (const button of document.querySelectorAll("[data-copy]")) button.addEventListener("click", () => copy(button));
poll();
