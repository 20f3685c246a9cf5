// About: the profile that stands beside the catalogue. It comes as blocks of text, never as markup.

import { byId, fill, h } from "./dom.js";

const TITLES = [
  ["profile", "Profile"],
  ["shines", "Where it shines"],
  ["limits", "Where it does not"],
];
const MARKS = { b: "b", i: "i", code: "code" };

export function show({ model: { about } }) {
  const parts = TITLES.filter(([name]) => Array.isArray(about?.[name]) && about[name].length).map(([name, title]) =>
    h(`div.${name}`, {}, h("h3", {}, title), ...about[name].map(block)),
  );
  const questions = (about?.questions ?? []).map(({ q, a }) => h("details", {}, h("summary", {}, q), ...a.map(block)));
  if (questions.length) parts.push(h("div.questions", {}, h("h3", {}, "Questions"), ...questions));
  const box = byId("about-body");
  const drawn = JSON.stringify(about ?? null);
  if (box.drawn === drawn) return;
  box.drawn = drawn;
  fill(box, ...(parts.length ? parts : [h("p.empty", {}, "Nothing is written about this model yet.")]));
}

function block(one) {
  if (one.kind === "ul") return h("ul", {}, ...one.items.map((item) => h("li", {}, ...item.map(span))));
  return h("p", {}, ...(one.spans ?? []).map(span));
}

function span({ text, mark, href }) {
  const inner = MARKS[mark] ? h(MARKS[mark], {}, text) : text;
  return /^https?:\/\//.test(href ?? "") ? h("a", { href, rel: "noreferrer" }, inner) : inner;
}
