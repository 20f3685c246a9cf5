// What each figure means: opens by click, tap or Enter on its name, and says over how many samples it is.

import { byId, put } from "./dom.js";
import { base } from "./state.js";

let known = {};
const samples = new Map();

export async function loadDefinitions() {
  known = await (await fetch(new URL("page/static/definitions.json", base))).json();
  for (const button of document.querySelectorAll("[data-def]")) name(button);
}

export const title = (id) => known[id]?.title ?? id;

// What the figure was computed over, as text, at the time when its definition is opened.
export const over = (id, text) => samples.set(id, text);

export function name(button) {
  const short = button.dataset.short;
  put(button, short ?? title(button.dataset.def));
  button.type = "button";
  button.setAttribute("aria-haspopup", "dialog");
  if (short) button.setAttribute("aria-label", `What is ${title(button.dataset.def)}?`);
  return button;
}

export function define(root) {
  root.addEventListener("click", (event) => {
    const button = event.target.closest("[data-def]");
    if (button) open(button);
  });
}

function open(button) {
  const box = byId("definition");
  const { title: words, text } = known[button.dataset.def] ?? { title: button.dataset.def, text: "" };
  put(byId("definition-title"), words);
  put(byId("definition-text"), text);
  put(byId("definition-n"), samples.get(button.dataset.def)?.() ?? "");
  box.showPopover({ source: button });
  const at = button.getBoundingClientRect();
  const width = box.offsetWidth;
  box.style.left = `${Math.max(12, Math.min(at.left, innerWidth - width - 12))}px`;
  const below = at.bottom + 8;
  box.style.top = `${below + box.offsetHeight < innerHeight ? below : Math.max(8, at.top - box.offsetHeight - 8)}px`;
  box.tabIndex = -1;
  box.focus();
  button.setAttribute("aria-expanded", "true");
  box.addEventListener(
    "toggle",
    () => {
      button.removeAttribute("aria-expanded");
      if (box.contains(document.activeElement) || document.activeElement === document.body) button.focus();
    },
    { once: true },
  );
}
