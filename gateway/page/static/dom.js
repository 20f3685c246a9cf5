// Elements. They are created once; updates change only what differs, so that layout, focus and selection are stable.

export const byId = (id) => document.getElementById(id);

const SVG = "http://www.w3.org/2000/svg";

// h("td.num", { title: "…" }, "text", node): a class after each dot; `on…` are listeners, null and false are left out.
export function h(what, attributes = {}, ...children) {
  const [tag, ...classes] = what.split(".");
  const node = document.createElement(tag);
  if (classes.length) node.className = classes.join(" ");
  set(node, attributes);
  node.append(...children.filter((one) => one !== null && one !== undefined && one !== false));
  return node;
}

export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  set(node, attributes);
  node.append(...children);
  return node;
}

function set(node, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name.startsWith("--")) node.style.setProperty(name, value);
    else node.setAttribute(name, value === true ? "" : value);
  }
}

export function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function attribute(node, name, value) {
  if (value === null || value === false) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

// Replaces the children only where they differ: a reader's selection and focus stay.
export function fill(node, ...children) {
  const draft = node.cloneNode(false);
  draft.append(...children.filter((one) => one !== null && one !== undefined && one !== false));
  if (!draft.isEqualNode(node)) node.replaceChildren(...draft.childNodes);
}

// One child of `parent` for each item, by key: created once, filled each time, moved where the order changed.
export function sync(parent, items, keyOf, create, update = () => {}) {
  const old = new Map([...parent.children].map((node) => [node.dataset.key, node]));
  items.forEach((item, index) => {
    const key = String(keyOf(item));
    const node = old.get(key) ?? create(item);
    old.delete(key);
    node.dataset.key = key;
    update(node, item);
    if (parent.children[index] !== node) parent.insertBefore(node, parent.children[index] ?? null);
  });
  for (const node of old.values()) node.remove();
}

export async function copy(button, source) {
  const words = button.textContent;
  try {
    await navigator.clipboard.writeText(source.value ?? source.textContent);
    put(button, "Copied");
  } catch {
    getSelection().selectAllChildren(source); // the clipboard needs HTTPS: select the text for Ctrl+C
    source.select?.();
    put(button, "Selected");
  }
  setTimeout(() => put(button, words), 1500);
}

// A download of rows, made when the link is used. `rows` gives arrays; the first are the names of the columns.
export function csvLink(name, rows) {
  const link = h("a.csv", { href: "#", download: name, "aria-label": `CSV data of ${name}` }, "CSV");
  link.addEventListener("click", () => {
    const text = rows()
      .map((row) => row.map(cell).join(","))
      .join("\n");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  });
  return link;
}

function cell(value) {
  if (value === null || value === undefined) return "";
  let text = String(value);
  if (typeof value === "string" && /^[=+\-@\t]/.test(text)) text = `'${text}`; // a sheet must not run it
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
