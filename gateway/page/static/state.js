// What the reader chose, in the URL so that a link shows what its sender saw; and where the gateway is.

export const base = new URL("../../", import.meta.url).href; // static files are at BASE/page/static/

const DEFAULTS = {
  range: "24h",
  p: "p50",
  policy: "",
  sort: "",
  kind: "",
  app: "",
  endpoint: "",
  by: "",
  code: "curl",
  price: "input",
};
const ALLOWED = {
  range: ["1h", "24h", "7d", "30d"],
  p: ["p50", "p75", "p90", "p95", "p99"],
  price: ["input", "output"],
};
const listeners = new Set();

function read() {
  const found = new URLSearchParams(location.search);
  const chosen = { ...DEFAULTS };
  for (const name of Object.keys(DEFAULTS)) {
    const value = found.get(name);
    if (value !== null && (ALLOWED[name]?.includes(value) ?? true)) chosen[name] = value;
  }
  return chosen;
}

export const chosen = read();

export function choose(changes) {
  Object.assign(chosen, changes);
  const url = new URL(location.href);
  for (const [name, value] of Object.entries(chosen)) {
    if (value === DEFAULTS[name]) url.searchParams.delete(name);
    else url.searchParams.set(name, value);
  }
  history.replaceState(null, "", url);
  for (const listener of listeners) listener(changes);
}

export const onChoice = (listener) => listeners.add(listener);

// The model of a path like /models/deepseek/deepseek-v3.2; null at /, where the first one is shown.
export function modelOfPath() {
  const found = location.pathname.match(/\/models\/([^/]+)\/([^/]+)\/?$/);
  return found ? found.slice(1).map(decodeURIComponent).join("/") : null;
}
