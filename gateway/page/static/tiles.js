// Four figures of the chosen range, each with its course and the change against the range before; and the verdict.

import { byId, fill, h, put, svg, sync } from "./dom.js";
import { name, over } from "./definitions.js";
import {
  BEFORE_WORDS,
  NONE,
  RANGE_WORDS,
  SMALL,
  count,
  percent,
  perMillion,
  ratio,
  seconds,
  significant,
  speed,
  usd,
} from "./format.js";
import { chosen } from "./state.js";

const listed = (total) =>
  total?.list_usd && total.prompt + total.completion
    ? (1e6 * total.list_usd) / (total.prompt + total.completion)
    : null;
const rate = (total, part) => ratio(total?.[part], total?.judged_requests);

// Each gives, of a total: the value, its text, what stands below, the sample; of points: the values; what a rise means.
const TILES = [
  {
    id: "effective-price",
    value: (total) => total.effective_price,
    text: (value, n) => [usd(value, n), value === null ? "" : " / 1M"],
    under: (total) =>
      listed(total) === null
        ? ""
        : `list ${usd(listed(total))}, ${usd(Math.max(0, total.list_usd - total.cost_usd))} saved`,
    sample: (total) => total.requests,
    points: (points) => points.effective_price,
    rise: ["dearer", "cheaper"],
  },
  {
    id: "ttft-p50",
    value: (total) => total.ttft.p50,
    text: (value, n) => unit(seconds(value, n)),
    under: (total) => `p95 ${seconds(total.ttft.p95, total.ttft.n)}`,
    sample: (total) => total.ttft.n,
    points: (points) => points.ttft.p50,
    rise: ["slower", "faster"],
  },
  {
    id: "throughput-p50",
    value: (total) => total.throughput.p50,
    text: (value, n) => unit(speed(value, n)),
    under: (total) => `p95 ${speed(total.throughput.p95, total.throughput.n)}`,
    sample: (total) => total.throughput.n,
    points: (points) => points.throughput.p50,
    rise: ["faster", "slower"],
  },
  {
    id: "success",
    value: (total) => rate(total, "succeeded"),
    text: (value, n) => unit(percent(value, n)),
    under: (total) => `${percent(rate(total, "first_ok"), total.judged_requests)} without failover`,
    sample: (total) => total.judged_requests,
    points: (points) => points.judged_requests.map((all, index) => ratio(points.succeeded[index], all)),
    rise: ["better", "worse"],
    points_of_percent: true,
  },
];

const unit = (text) => {
  const [value, ...rest] = text.split(" ");
  return [value, rest.length ? ` ${rest.join(" ")}` : ""];
};

export function show({ history, model }) {
  const all = history?.all;
  sync(
    byId("tiles"),
    TILES,
    (tile) => tile.id,
    create,
    (node, tile) => {
      const total = all?.total;
      const n = total ? tile.sample(total) : 0;
      const value = n ? tile.value(total) : null;
      over(
        tile.id,
        () =>
          `${count(n)} ${tile.id === "throughput-p50" || tile.id === "ttft-p50" ? "samples" : "requests"} in the ${RANGE_WORDS[chosen.range]}.`,
      );
      const [figure, small] = value === null ? [NONE, ""] : tile.text(value, n);
      node.classList.toggle("few", n > 0 && n < SMALL);
      fill(node.querySelector(".figure"), figure, h("small", {}, small));
      put(
        node.querySelector(".under"),
        value === null ? (all ? "no traffic" : "") : tile.under(total) + (n < SMALL ? ` · n ${n}` : ""),
      );
      put(node.querySelector(".change"), value === null ? "" : change(tile, value, all.before));
      fill(node.querySelector(".spark"), ...(value === null ? [] : spark(tile.points(all.points))));
    },
  );
  const sentences = model.verdict?.[chosen.range] ?? [];
  fill(byId("verdict"), ...sentences.map((text) => h("p", {}, text)));
}

function create(tile) {
  return h(
    "div.tile",
    {},
    h("dt", {}, name(h("button.what", { "data-def": tile.id }))),
    h("dd.figure"),
    h("dd.under"),
    h("dd.spark", { "aria-hidden": "true" }),
    h("dd.change"),
  );
}

function change(tile, value, before) {
  const was = before && tile.sample(before) ? tile.value(before) : null;
  if (!was) return `nothing from ${BEFORE_WORDS[chosen.range]}`;
  const difference = tile.points_of_percent ? (value - was) * 100 : (value / was - 1) * 100;
  const size = Math.abs(difference);
  if (size < (tile.points_of_percent ? 0.005 : 0.5)) return `as in ${BEFORE_WORDS[chosen.range]}`;
  const words = tile.rise[difference > 0 ? 0 : 1];
  return `${significant(size, 2)} ${tile.points_of_percent ? "points" : "%"} ${words} than ${BEFORE_WORDS[chosen.range]}`;
}

// A line through the values, broken where there are none; a dot where one stands alone.
function spark(values) {
  const known = values.filter((value) => value !== null && value !== undefined);
  if (!known.length) return [];
  const [high, least] = [Math.max(...known), Math.min(...known)];
  const low = Math.min(least, high - 0.2 * Math.abs(high)); // a small change must not look like a large one
  const x = (index) => (values.length < 2 ? 50 : (index / (values.length - 1)) * 100);
  const y = (value) => (high === low ? 14 : 26 - ((value - low) / (high - low)) * 24);
  let path = "";
  values.forEach((value, index) => {
    if (value === null || value === undefined) return;
    const starts = index === 0 || values[index - 1] === null || values[index - 1] === undefined;
    path += `${starts ? "M" : "L"}${x(index).toFixed(2)} ${y(value).toFixed(2)}${starts ? "l0.01 0" : ""}`;
  });
  return [
    svg(
      "svg",
      { viewBox: "0 0 100 28", preserveAspectRatio: "none" },
      svg("path", { d: path, "vector-effect": "non-scaling-stroke" }),
    ),
  ];
}
