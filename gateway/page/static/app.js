// The page: reads what the gateway knows, shows it in every panel, and follows the gateway's events.
//
//   model.json ─────┐                       chosen range, percentile, policy ──> URL
//   history.json ───┤
//   prices.json ────┼──> page ──> each panel's show(page)
//   probes.json ────┤     ^
//   limits.json ────┘     │
//   events ───────────────┘   state: endpoints, picks · exchange: the live list · figures: history is read again

import { redrawAll } from "./chart.js";
import { assign, watchRows } from "./colours.js";
import { define, loadDefinitions } from "./definitions.js";
import { byId, h, put, sync } from "./dom.js";
import { Events, read, unreachable } from "./net.js";
import { base, choose, chosen, modelOfPath, onChoice } from "./state.js";
import * as about from "./about.js";
import * as activity from "./activity.js";
import * as code from "./code.js";
import * as endpoints from "./endpoints.js";
import * as head from "./head.js";
import * as limits from "./limits.js";
import * as live from "./live.js";
import * as performance from "./performance.js";
import * as price from "./price.js";
import * as prices from "./prices.js";
import * as quality from "./quality.js";
import * as speed from "./speed.js";
import * as tiles from "./tiles.js";
import * as uptime from "./uptime.js";

const EVERY = 60_000; // ms between two readings of the history
const RARELY = 600_000; // ms between two readings of prices and probes
const PANELS = [
  head,
  tiles,
  endpoints,
  price,
  prices,
  performance,
  speed,
  uptime,
  quality,
  activity,
  limits,
  live,
  code,
  about,
];

const page = { model: null, history: null, prices: null, probes: null, limits: null };
let status = "waiting";
let readAt = 0;
let rarelyAt = 0;
let pending = 0; // frames that are requested: all panels, the endpoints
let drawing = 0;

function show() {
  if (!page.model) return;
  for (const panel of PANELS) panel.show(page);
}

function later() {
  cancelAnimationFrame(pending);
  pending = requestAnimationFrame(show);
}

async function readModel() {
  page.model = await read("model.json", { model: modelOfPath() });
  assign(page.model.endpoints.filter((one) => one.state !== "unused" && one.state !== "retired").map((one) => one.id));
}

async function readHistory() {
  readAt = Date.now();
  const wanted = chosen.range;
  const history = await read("history.json", { model: page.model.model.id, range: wanted }).catch(
    unreachable(() => null),
  );
  byId("away").hidden = history !== null; // the figures of before stay
  if (history && wanted === chosen.range) page.history = history;
}

async function readLimits() {
  page.limits = await read("limits.json").catch(unreachable(() => page.limits)); // the figures of before stay
}

// Prices and probes change by the hour. Where a gateway has none yet, their panels say so.
async function readRare() {
  rarelyAt = Date.now();
  const model = page.model.model.id;
  [page.prices, page.probes] = await Promise.all(
    ["prices.json", "probes.json"].map((path) => read(path, { model }).catch(unreachable(() => null))),
  );
}

async function refresh() {
  if (document.hidden || status === "lost" || !page.model) return;
  const stale = Date.now() - readAt >= EVERY - 1_000;
  const rare = Date.now() - rarelyAt >= RARELY;
  await Promise.all([readLimits(), stale && readModel(), stale && readHistory(), rare && readRare()]).catch(
    unreachable(() => showStatus("lost")),
  );
  later();
}

// `change` has only what differs: {at, in_flight, endpoints: {ID: {...}}, picks: {POLICY: {...}}}.
function merge(change) {
  const { model } = page;
  model.endpoints = model.endpoints.map((one) => ({ ...one, ...change.endpoints?.[one.id] }));
  for (const [name, pick] of Object.entries(change.picks ?? {})) model.picks[name] = { ...model.picks[name], ...pick };
  model.at = change.at ?? model.at;
  cancelAnimationFrame(drawing);
  drawing = requestAnimationFrame(() => endpoints.show(page));
}

const WORDS = { waiting: "connecting", live: "live", lost: "not connected, trying again" };

function showStatus(state) {
  const back = state === "live" && status === "lost";
  status = state;
  byId("status").dataset.state = state;
  put(byId("status-text"), WORDS[state]);
  if (back) {
    readAt = rarelyAt = 0;
    refresh()
      .then(live.reload)
      .catch(unreachable(() => showStatus("lost")));
  }
}

function choices(id, name, values, words = {}) {
  sync(
    byId(id),
    values,
    (value) => value,
    (value) => h("button", { type: "button", onclick: () => choose({ [name]: value }) }, words[value] ?? value),
    (node, value) => {
      node.setAttribute("aria-pressed", String(chosen[name] === value));
    },
  );
}

function showChoices() {
  choices("ranges", "range", ["1h", "24h", "7d", "30d"], { "1h": "1 h", "24h": "24 h", "7d": "7 d", "30d": "30 d" });
  choices("percentiles", "p", ["p50", "p75", "p90", "p95", "p99"]);
  choices("price-kind", "price", ["input", "output"], { input: "Input", output: "Output" });
}

function themeSwitch() {
  const root = document.documentElement;
  const dark = () =>
    root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const label = () => put(byId("theme"), dark() ? "Light" : "Dark");
  byId("theme").addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    label();
    redrawAll();
    localStorage.setItem("theme", root.dataset.theme);
  });
  label();
}

// The anchor of the panel at the top of the window is marked.
function followScroll() {
  const links = new Map([...document.querySelectorAll("#anchors a")].map((link) => [link.hash.slice(1), link]));
  const seen = new Set();
  const observer = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) seen[entry.isIntersecting ? "add" : "delete"](entry.target.id);
      const current = [...links.keys()].find((id) => seen.has(id));
      for (const [id, link] of links) {
        if (id === current) link.setAttribute("aria-current", "true");
        else link.removeAttribute("aria-current");
      }
    },
    { rootMargin: "-60px 0px -55% 0px" },
  );
  for (const id of links.keys()) observer.observe(byId(id));
}

function models() {
  const { models: all, model } = page.model;
  byId("models").hidden = all.length < 2;
  sync(
    byId("model-choice"),
    all,
    (one) => one.id,
    (one) => h("option", { value: one.id }, one.name),
  );
  byId("model-choice").value = model.id;
  byId("model-choice").addEventListener(
    "change",
    (event) => (location.href = `${base}models/${event.target.value}${location.search}`),
  );
}

async function start() {
  themeSwitch();
  showChoices();
  watchRows(document.body);
  define(document.body);
  await Promise.all([loadDefinitions(), readModel()]);
  models();
  show();
  followScroll();
  new Events(page.model.model.id, { state: merge, exchange: live.add, figures: refresh }, showStatus);
  onChoice(async (changes) => {
    showChoices();
    show();
    if ("range" in changes) {
      document.body.classList.add("reading");
      await readHistory();
      document.body.classList.remove("reading");
      show();
    }
  });
  await Promise.all([readHistory(), readRare(), readLimits(), live.reload()]).catch(unreachable(() => showStatus("lost")));
  show();
  document.body.dataset.ready = "";
  if (location.hash) byId(location.hash.slice(1))?.scrollIntoView();
  setInterval(refresh, EVERY);
  document.addEventListener("visibilitychange", refresh);
}

start().catch(
  unreachable(() => {
    showStatus("lost");
    setTimeout(() => location.reload(), 5_000); // the gateway went away while the page was loaded
  }),
);
