// What is drawn on a chart beside its lines: the name at the end of each, and marks of moments.

import { dash, ink } from "./colours.js";

const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';
const SIZE = 11.5; // px
const GAP = 14; // px between two names
const NARROW = 520; // px
let measuring = null;

function shortened(name, narrow) {
  const most = narrow ? 11 : 18;
  return name.length > most ? `${name.slice(0, most - 1)}…` : name;
}

// At least the same for all charts of a width, so that their times stand below each other.
export function labelWidth(lines, width) {
  measuring ??= document.createElement("canvas").getContext("2d");
  measuring.font = `${SIZE}px ${FONT}`;
  const narrow = width < NARROW;
  return Math.max(
    narrow ? 84 : 100,
    ...lines.map((line) => 18 + measuring.measureText(shortened(line.name, narrow)).width),
  );
}

// Names the area between the first two lines, in the middle of it, or below it where it is thin.
export function drawNote(u, text) {
  if (!text) return;
  const [, above, below] = u.data;
  const index = Math.floor(above.length * 0.45);
  const at = [...above.keys()]
    .sort((a, b) => Math.abs(a - index) - Math.abs(b - index))
    .find((one) => above[one] !== null && below[one] !== null);
  if (at === undefined) return;
  const ratio = devicePixelRatio;
  const [top, bottom] = [above, below].map((values) => u.valToPos(values[at], "y", true));
  u.ctx.save();
  u.ctx.font = `600 ${SIZE * ratio}px ${FONT}`;
  u.ctx.textAlign = "center";
  u.ctx.textBaseline = "middle";
  u.ctx.fillStyle = ink("--ink");
  const half = u.ctx.measureText(text).width / 2 + 4 * ratio;
  const [left, right] = [u.bbox.left + half, u.bbox.left + u.bbox.width - half];
  u.ctx.fillText(
    text,
    Math.max(left, Math.min(right, u.valToPos(u.data[0][at], "x", true))),
    bottom - top > 20 * ratio ? (top + bottom) / 2 : bottom + 14 * ratio,
  );
  u.ctx.restore();
}

export function drawLabels(u, lines) {
  const ratio = devicePixelRatio;
  const { ctx, bbox } = u;
  const narrow = u.width < NARROW;
  const ends = lines
    .map((line, index) => end(u, line, index + 1))
    .filter(Boolean)
    .sort((a, b) => a.y - b.y);
  spread(ends, bbox.top + 4 * ratio, bbox.top + bbox.height, GAP * ratio);
  ctx.save();
  ctx.font = `${SIZE * ratio}px ${FONT}`;
  ctx.textAlign = "left";
  ctx.textBaseline = "middle";
  for (const { line, y, lineY, lineX, alpha } of ends) {
    const left = bbox.left + bbox.width;
    ctx.globalAlpha = alpha;
    ctx.strokeStyle = ink(line.ink);
    ctx.lineWidth = ratio;
    ctx.setLineDash(dash(line.key) ? [3 * ratio, 2 * ratio] : []);
    ctx.beginPath();
    ctx.moveTo(Math.max(lineX, left - 1), lineY);
    ctx.lineTo(left + 8 * ratio, y);
    if (lineX >= left - 40 * ratio) ctx.stroke();
    ctx.setLineDash([]);
    ctx.fillStyle = ink(line.ink);
    ctx.beginPath();
    ctx.arc(left + 9 * ratio, y, 2.5 * ratio, 0, 7);
    ctx.fill();
    ctx.fillStyle = ink("--ink");
    ctx.fillText(shortened(line.name, narrow), left + 15 * ratio, y);
  }
  ctx.restore();
}

function end(u, line, index) {
  const values = u.data[index];
  let last = values.length - 1;
  while (last >= 0 && (values[last] === null || values[last] === undefined)) last -= 1;
  if (last < 0) return null;
  const y = u.valToPos(values[last], "y", true);
  return { line, y, lineY: y, lineX: u.valToPos(u.data[0][last], "x", true), alpha: u.series[index].alpha ?? 1 };
}

// Moves names apart, down and then up again, until none covers another.
function spread(ends, top, bottom, gap) {
  ends.forEach((one, index) => (one.y = Math.max(one.y, index ? ends[index - 1].y + gap : top)));
  for (let index = ends.length - 1; index >= 0; index -= 1) {
    const limit = index === ends.length - 1 ? bottom : ends[index + 1].y - gap;
    ends[index].y = Math.min(ends[index].y, limit);
  }
}

// A mark is {at, value, ink}: a ring where something changed.
export function drawMarks(u, marks) {
  const { ctx } = u;
  ctx.save();
  for (const { at, value, ink: name } of marks) {
    const x = u.valToPos(at, "x", true);
    if (x < u.bbox.left || x > u.bbox.left + u.bbox.width) continue;
    ctx.beginPath();
    ctx.arc(x, u.valToPos(value, "y", true), 3.5 * devicePixelRatio, 0, 7);
    ctx.fillStyle = ink("--paper");
    ctx.fill();
    ctx.lineWidth = 1.75 * devicePixelRatio;
    ctx.strokeStyle = ink(name);
    ctx.stroke();
  }
  ctx.restore();
}
