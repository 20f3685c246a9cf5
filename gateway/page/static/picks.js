// Who would be chosen now: one policy after the other, and why.

import { dot } from "./colours.js";
import { attribute, byId, fill, h, sync } from "./dom.js";
import { bars } from "./ranked.js";
import { choose, chosen } from "./state.js";

export const AMONG = ["balanced", "nitro", "exacto"]; // policies that have a chip in the row that they would choose

// The policy that the reader chose, else the default.
export const policy = (model) => (model.picks?.[chosen.policy] ? chosen.policy : model.policies.default);

export function showPicks(model) {
  const box = byId("picks");
  const names = Object.keys(model.picks ?? {});
  box.hidden = !names.length;
  if (!names.length) return;
  if (!box.firstChild)
    box.append(
      h("p.quiet", {}, "Chosen now for a typical request (800 tokens in, 200 out)"),
      h("div.choice", { role: "group", "aria-label": "Policy" }),
      h("p.pick-why", { "aria-live": "polite" }),
      h("details", {}, h("summary", {}, "Why: all endpoints ranked"), h("div.bars")),
    );
  const now = policy(model);
  const wanted = [...AMONG.filter((name) => names.includes(name)), ...names.filter((name) => !AMONG.includes(name))];
  sync(
    box.children[1],
    wanted,
    (name) => name,
    (name) => h("button", { type: "button", onclick: () => choose({ policy: name }) }, name),
    (node, name) => attribute(node, "aria-pressed", String(name === now)),
  );
  const pick = model.picks[now];
  const about = model.policies.in_force.find((one) => one.name === now)?.about ?? "";
  fill(
    box.children[2],
    ...(pick.endpoint
      ? [dot(pick.endpoint), h("b", {}, pick.endpoint), `: ${pick.why}.`]
      : [h("b", {}, "No endpoint"), `: ${pick.why ?? ""}.`]),
    h("span.quiet", {}, about ? ` ${about}` : ""),
  );
  bars(box.children[3].lastChild, pick.ranked ?? [], pick.dropped ?? [], pick.endpoint);
}
