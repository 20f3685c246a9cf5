// One colour for each endpoint, the same in every chart and row: by hash, moved on where another has it already.
// There are eight (Okabe and Ito). The ninth endpoint and those after it take a colour again, with a dashed line.

import { h } from "./dom.js";

const COUNT = 8;
const slots = new Map();
const listeners = new Set();
let probe = null;
let highlighted = null;

function hash(text) {
  let value = 0x811c9dc5;
  for (const letter of text) value = Math.imul(value ^ letter.codePointAt(0), 0x01000193) >>> 0;
  return value;
}

export function assign(ids) {
  slots.clear();
  const rounds = [];
  for (const id of [...ids].sort()) {
    const round = Math.floor(slots.size / COUNT);
    const taken = (rounds[round] ??= new Set());
    let slot = hash(id) % COUNT;
    while (taken.has(slot)) slot = (slot + 1) % COUNT;
    taken.add(slot);
    slots.set(id, { slot, dashed: round > 0 });
  }
}

export const variable = (id) => (slots.has(id) ? `--e${slots.get(id).slot}` : "--none");
export const dash = (id) => (slots.get(id)?.dashed ? [6, 4] : null);

// The value of a colour of the style sheet in the theme of the moment, for canvases.
export function ink(name) {
  probe ??= document.body.appendChild(h("i", { hidden: true }));
  probe.style.color = `var(${name})`;
  return getComputedStyle(probe).color;
}

export const dot = (id) =>
  h(slots.get(id)?.dashed ? "i.dot.dashed" : "i.dot", { "--c": `var(${variable(id)})`, "aria-hidden": "true" });

// The endpoint that a row or a line under the pointer or the focus belongs to: all charts show it before the others.
export function highlight(id) {
  if (id === highlighted) return;
  highlighted = id;
  for (const row of document.querySelectorAll("[data-endpoint]"))
    row.classList.toggle("lit", row.dataset.endpoint === id);
  for (const listener of listeners) listener(id);
}

export const onHighlight = (listener) => listeners.add(listener);

export function watchRows(root) {
  const endpointOf = (event) => event.target.closest?.("[data-endpoint]")?.dataset.endpoint ?? null;
  root.addEventListener("pointerover", (event) => highlight(endpointOf(event)));
  root.addEventListener("pointerleave", () => highlight(null));
  root.addEventListener("focusin", (event) => highlight(endpointOf(event)));
  root.addEventListener("focusout", () => highlight(null));
}

export const shortNames = (ids) => {
  const providers = ids.map((id) => id.split("/")[0]);
  return new Map(
    ids.map((id, index) => [
      id,
      providers.filter((one) => one === providers[index]).length > 1 ? id : providers[index],
    ]),
  );
};
