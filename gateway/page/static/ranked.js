// Why an endpoint was chosen: one bar for each, of the dollars of its tokens, of its time and of its risk.

import { dot } from "./colours.js";
import { fill, h, sync } from "./dom.js";
import { seconds, share, usd } from "./format.js";

const PARTS = [
  ["usd", "price", "price of the tokens"],
  ["time_usd", "time", "price of the time"],
  ["risk_usd", "risk", "risk, later turns, limits"],
];

// `ranked` are {endpoint, usd, time_usd, risk_usd, seconds, risk, behind}; `dropped` are {endpoint, rule, detail}.
export function bars(box, ranked, dropped, marked, word = "chosen") {
  if (!box.firstChild)
    box.append(
      h(
        "ul.key",
        { "aria-hidden": "true" },
        ...PARTS.map(([, name, words]) => h("li", {}, h(`i.part.${name}`), words)),
      ),
      h("ol.ranked-bars"),
      h("ul.dropped"),
    );
  const whole = (one) => PARTS.reduce((sum, [part]) => sum + Math.max(0, one[part] ?? 0), 0);
  const most = Math.max(1e-12, ...ranked.map(whole));
  sync(
    box.children[1],
    ranked,
    (one) => one.endpoint,
    () => h("li"),
    (node, one) => {
      node.dataset.endpoint = one.endpoint;
      const bar = h(
        "span.bar-line",
        { "aria-hidden": "true" },
        ...PARTS.map(([part, name]) => h(`i.part.${name}`, { "--w": Math.max(0, one[part] ?? 0) / most })),
      );
      const said = PARTS.filter(([part]) => one[part] > 0)
        .map(([part, name]) => `${name} ${usd(one[part])}`)
        .join(", ");
      fill(
        node,
        h(
          "span.who",
          {},
          dot(one.endpoint),
          h("b", {}, one.endpoint),
          one.endpoint === marked ? h("span.chip", {}, word) : null,
        ),
        bar,
        h("span.total", {}, usd(whole(one))),
        h(
          "small",
          {},
          `${said} · ${seconds(one.seconds)} expected, ${share(one.risk)} risk${one.behind ? ` · behind: ${one.behind}` : ""}`,
        ),
      );
    },
  );
  sync(
    box.children[2],
    dropped,
    (one) => one.endpoint,
    () => h("li"),
    (node, one) =>
      fill(node, h("b", {}, one.endpoint), ` not considered: ${[one.rule, one.detail].filter(Boolean).join(", ")}`),
  );
}
