// Quality: canaries that the gateway sends to each endpoint, and scores of the model that others published.

import { dot } from "./colours.js";
import { attribute, byId, fill, h, put, sync } from "./dom.js";
import { over } from "./definitions.js";
import { SMALL, fullDay, percent, significant } from "./format.js";
import { figure, heads, row } from "./tables.js";

let columns = null;

export function show({ probes, model }) {
  const found = Object.entries(probes?.endpoints ?? {}).filter(([, one]) => Object.keys(one.canaries ?? {}).length);
  const names = [...new Set(found.flatMap(([, one]) => Object.keys(one.canaries)))];
  byId("canary-table").hidden = !found.length;
  byId("canary-empty").hidden = found.length > 0;
  put(byId("canary-empty"), "No canary has run yet. They start with the first probes of an endpoint.");
  over(
    "canaries",
    () => `${found.reduce((sum, [, one]) => sum + answers(one), 0)} answers of ${found.length} endpoints.`,
  );
  if (found.length) table(found, names);
  mistakes(found);
  scores(model.scores ?? []);
}

const answers = (one) => Object.values(one.canaries).reduce((sum, canary) => sum + canary.of, 0);

function table(found, names) {
  const node = byId("canary-table");
  const wanted = [
    { key: "endpoint", text: "Endpoint" },
    { key: "score", text: "Score", def: "canary-score", num: true },
    ...names.map((name) => ({ key: name, text: name.replaceAll("_", " "), num: true })),
  ];
  if (columns?.length !== wanted.length) node.tHead.rows[0].replaceChildren();
  columns = wanted;
  heads(node, columns);
  const rows = [...found].sort((a, b) => (a[1].rank ?? 999) - (b[1].rank ?? 999));
  sync(
    node.tBodies[0],
    rows,
    ([id]) => `${id} ${columns.length}`,
    ([id]) => row(columns, { "data-endpoint": id }),
    (line, [id, one]) => {
      fill(line.cells[0], h("span.name", {}, dot(id), h("span", {}, id)));
      const n = answers(one);
      figure(
        line.cells[1],
        percent(one.score, n),
        `${one.rank === null ? "" : `rank ${one.rank} · `}n ${n}`,
        n < SMALL,
      );
      names.forEach((name, index) => {
        const canary = one.canaries[name];
        const cell = line.cells[index + 2];
        figure(
          cell,
          canary ? `${canary.passed} / ${canary.of}` : "–",
          canary?.drift ? "drift" : "",
          canary && canary.of < 5,
        );
        attribute(cell, "data-drift", canary?.drift ? "" : null);
      });
    },
  );
}

// The last wrong answer to each canary, where there was one.
function mistakes(found) {
  const all = found.flatMap(([id, one]) =>
    Object.entries(one.canaries)
      .filter(([, canary]) => canary.mistake)
      .map(([name, canary]) => ({ id, name, mistake: canary.mistake })),
  );
  byId("mistakes").hidden = !all.length;
  put(byId("mistakes").firstElementChild, `${all.length} last wrong ${all.length === 1 ? "answer" : "answers"}`);
  fill(
    byId("mistakes").lastElementChild,
    ...all.map(({ id, name, mistake }) =>
      h("li", { "data-endpoint": id }, dot(id), h("b", {}, id), `${name.replaceAll("_", " ")}:`, h("q", {}, mistake)),
    ),
  );
}

function scores(found) {
  const list = byId("scores");
  const create = () => h("li");
  sync(
    list,
    found,
    (one) => one.name,
    create,
    (node, one) => {
      const place = one.percentile === null || one.percentile === undefined ? null : Math.round(one.percentile * 100);
      const link = /^https:/.test(one.url ?? "")
        ? h("a", { href: one.url, rel: "noreferrer" }, one.source)
        : one.source;
      const [, unit, how] = /^(\S*?),?(?: (.*))?$/.exec(one.unit ?? ""); // "% solved at the first attempt"
      fill(
        node,
        h("b", {}, one.name),
        h("span.num", {}, `${significant(one.score)} ${unit}`),
        h("span.gauge", { "aria-hidden": "true" }, place === null ? "" : h("i", { "--at": place / 100 })),
        h(
          "small",
          {},
          how ? `${how} · ` : "",
          place === null ? "" : `better than ${place} % of ${one.of} models · `,
          link,
          `, ${typeof one.date === "string" ? fullDay(Date.parse(one.date) / 1000) : fullDay(one.date)}`,
        ),
      );
    },
  );
  if (!found.length) fill(list, h("li.empty", {}, "No published score stands beside the catalogue."));
}
