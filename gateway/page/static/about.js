// About: the profile that stands beside the catalogue. The gateway sends it as HTML made from Markdown; it is built
// again here from allowed elements only, so that nothing else can become part of the page.

import { byId, fill, h } from "./dom.js";

const TITLES = [
  ["profile", "Profile"],
  ["shines", "Where it shines"],
  ["limits", "Where it does not"],
];
const ALLOWED = new Set(["p", "ul", "ol", "li", "strong", "em", "b", "i", "code", "h3", "h4", "br", "pre"]);
for (const tag of ["table", "thead", "tbody", "tr", "th", "td", "blockquote", "hr"]) ALLOWED.add(tag);
let drawn = null;

export function show({ model: { about } }) {
  const found = JSON.stringify(about ?? null);
  if (found === drawn) return;
  drawn = found;
  const parts = TITLES.filter(([name]) => about?.[name]).map(([name, title]) =>
    h(`div.${name}`, {}, h("h3", {}, title), ...built(about[name])),
  );
  const questions = (about?.questions ?? []).map(({ q, a }) => h("details", {}, h("summary", {}, q), ...built(a)));
  if (questions.length) parts.push(h("div.questions", {}, h("h3", {}, "Questions"), ...questions));
  fill(byId("about-body"), ...(parts.length ? parts : [h("p.empty", {}, "Nothing is written about this model yet.")]));
}

function built(html) {
  return [...new DOMParser().parseFromString(html, "text/html").body.childNodes].flatMap(rebuilt);
}

function rebuilt(node) {
  if (node.nodeType === Node.TEXT_NODE) return [node.textContent];
  if (node.nodeType !== Node.ELEMENT_NODE) return [];
  const tag = node.localName;
  const inner = [...node.childNodes].flatMap(rebuilt);
  const href = tag === "a" ? node.getAttribute("href") : null;
  if (/^https?:\/\//.test(href ?? "")) return [h("a", { href, rel: "noreferrer" }, ...inner)];
  if (tag === "script" || tag === "style") return [];
  return ALLOWED.has(tag) ? [h(tag, {}, ...inner)] : inner;
}
