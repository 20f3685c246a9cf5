// Tables: heads that sort and define, cells with a figure and a smaller one below.
// Roles are written out, because a phone lays rows out as blocks, which would take them away.

import { attribute, fill, h } from "./dom.js";
import { name, title } from "./definitions.js";

// `columns` are {key, def, text, num, sort}; `sorted` is "key" or "-key"; `onSort` gets the next one.
export function heads(table, columns, sorted = "", onSort = null) {
  table.setAttribute("role", "table");
  table.tHead.setAttribute("role", "rowgroup");
  table.tBodies[0].setAttribute("role", "rowgroup");
  const row = table.tHead.rows[0];
  row.setAttribute("role", "row");
  if (!row.cells.length) row.append(...columns.map((column) => head(column, onSort)));
  columns.forEach((column, index) => {
    const [down, up] = [sorted === `-${column.key}`, sorted === column.key];
    attribute(row.cells[index], "aria-sort", down ? "descending" : up ? "ascending" : null);
  });
}

function head(column, onSort) {
  const words = column.text ?? title(column.def);
  const sortable = onSort && column.sort;
  const cell = h(column.num ? "th.num" : "th", { scope: "col", role: "columnheader" });
  cell.append(
    sortable ? h("button.sort", { type: "button", onclick: () => onSort(column.key) }, words) : h("span", {}, words),
  );
  if (column.def) cell.append(name(h("button.what.i", { "data-def": column.def, "data-short": "?" })));
  return cell;
}

export function row(columns, attributes = {}) {
  return h(
    "tr",
    { role: "row", ...attributes },
    ...columns.map((column) =>
      h(column.num ? "td.num" : "td", { role: "cell", "data-label": column.text ?? title(column.def) }),
    ),
  );
}

// A figure with a smaller one below it; `few` dims both, as of a sample that bears little.
export function figure(cell, main, under = "", few = false) {
  cell.classList.toggle("few", few);
  fill(cell, h("span", {}, main), under ? h("small", {}, under) : null);
}

export function sorted(items, valueOf, descending) {
  const rank = (value) => (value === null || value === undefined || Number.isNaN(value) ? 1 : 0);
  return [...items].sort((a, b) => {
    const [x, y] = [valueOf(a), valueOf(b)];
    if (rank(x) || rank(y)) return rank(x) - rank(y);
    const order = typeof x === "string" ? x.localeCompare(y) : x - y;
    return descending ? -order : order;
  });
}
