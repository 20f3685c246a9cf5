// A chart over time, by uPlot, in a <figure> of the page.
//
//   lines ──Chart.show──> canvas with y ticks only, names at the ends of the lines, gaps where there is no value
//                         one crosshair over all charts; a readout by pointer or arrow keys; the data as CSV

import { ink, onHighlight } from "./colours.js";
import { byId, csvLink, fill, h } from "./dom.js";
import { clock, date, day, moment } from "./format.js";
import { drawLabels, drawMarks, drawNote, labelWidth } from "./labels.js";

const HEIGHT = 210;
const charts = new Set();
let lit = null;

const { paths } = uPlot;
const PATHS = { line: undefined, step: paths.stepped({ align: 1 }), bars: paths.bars({ size: [0.78, 28], align: 1 }) };

// Lines are {key, name, ink, values, shown, dash, width, kind, dots}: `ink` names a colour of the style sheet, `kind` is
// line, step or bars, `shown` has the values to read where others are drawn, `dots` marks every value.
export class Chart {
  #plot = null;
  #shown = null;
  #lines = [];

  // `format` makes text of a value; `floor` is 0 for amounts, or gives the lowest value that shows.
  constructor(id, { format, floor = 0, ceiling = null, labels = true, height = HEIGHT }) {
    this.figure = byId(id);
    this.format = format;
    this.floor = floor;
    this.ceiling = ceiling;
    this.labels = labels;
    this.height = height;
    this.box = this.figure.querySelector(".plot");
    this.empty = h("p.empty", { hidden: true });
    this.tip = h("div.tip", { hidden: true, "aria-hidden": "true" });
    this.spoken = h("p.unseen", { "aria-live": "polite" });
    this.box.after(this.empty, this.spoken);
    this.figure.querySelector(".actions").append(csvLink(`${id}.csv`, () => this.#rows()));
    this.box.tabIndex = 0;
    this.box.setAttribute("role", "img");
    this.box.addEventListener("keydown", (event) => this.#key(event));
    this.box.addEventListener("blur", () => this.#plot?.setCursor({ left: -10, top: -10 }));
    new ResizeObserver(() => this.#resize()).observe(this.box);
    charts.add(this);
  }

  // `data` is {times, step, from, to, lines, bands, note, marks, summary, empty, sorted}.
  show(data) {
    this.#shown = data;
    this.#lines = data.lines.filter((line) => line.values.some((value) => value !== null && value !== undefined));
    const nothing = this.#lines.length === 0;
    this.empty.hidden = !nothing;
    this.box.hidden = nothing;
    fill(this.empty, nothing ? (data.empty ?? "No traffic in this range.") : "");
    this.box.setAttribute("aria-label", `${data.summary}. ${this.#last()} Arrow keys read the values.`);
    const shape = this.#lines.map((line) => [line.key, line.ink]).join();
    if (nothing) this.#drop();
    else if (this.#plot && shape === this.shape) this.#update();
    else this.#build();
    this.shape = shape;
  }

  // The newest value of each line, in words.
  #last() {
    const found = this.#lines.map((line) => {
      const value = (line.shown ?? line.values).findLast((one) => one !== null && one !== undefined);
      return `${line.name} ${this.format(value)}`;
    });
    return found.length ? `Last: ${found.join(", ")}.` : "";
  }

  redraw() {
    if (this.#plot) this.#build();
  }

  light(id) {
    if (!this.#plot || (!this.#lines.some((line) => line.key === id) && !this.dimmed)) return;
    this.dimmed = this.#lines.some((line) => line.key === id);
    this.#lines.forEach(
      (line, index) => (this.#plot.series[index + 1].alpha = this.dimmed && line.key !== id ? 0.14 : 1),
    );
    this.#plot.redraw(false);
  }

  #update() {
    this.#plot.setData(this.#data(), false);
    this.#plot.setScale("x", { min: this.#shown.from, max: this.#shown.to });
  }

  #data() {
    return [this.#shown.times, ...this.#lines.map((line) => line.values)];
  }

  #drop() {
    this.#plot?.destroy();
    this.#plot = null;
  }

  #build() {
    this.#drop();
    if (!this.box.clientWidth) return;
    this.#plot = new uPlot(this.#options(), this.#data(), this.box);
    this.#plot.over.append(this.tip);
    this.tip.hidden = true;
    if (lit) this.light(lit);
  }

  #options() {
    const quiet = ink("--quiet");
    const font = '11px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';
    const right = this.labels ? labelWidth(this.#lines, this.box.clientWidth) : 20;
    const axis = { stroke: quiet, font, ticks: { show: false } };
    return {
      width: this.box.clientWidth,
      tzDate: (at) => (this.#shown.step >= 86_400 ? uPlot.tzDate(new Date(at * 1000), "Etc/UTC") : new Date(at * 1000)),
      height: this.height,
      padding: [10, right, 0, 0],
      legend: { show: false },
      cursor: {
        y: false,
        drag: { x: false, y: false },
        sync: { key: "page", scales: ["x", null], setSeries: false },
        points: { size: 7, width: 2, stroke: (u, i) => u.series[i].stroke(u, i), fill: () => ink("--paper") },
      },
      scales: {
        x: { time: true, range: () => [this.#shown.from, this.#shown.to] },
        y: { range: (u, low, high) => this.#range(low, high) },
      },
      axes: [
        {
          ...axis,
          grid: { show: false },
          space: 64,
          size: 26,
          gap: 4,
          values: (u, splits, _, __, step) => splits.map((at) => tick(at, step, this.#shown)),
        },
        {
          ...axis,
          grid: { stroke: ink("--hair"), width: 1 },
          space: 42,
          size: 68,
          gap: 6,
          values: (_, splits) => splits.map((value) => (value === null ? "" : this.format(value, undefined))),
        },
      ],
      series: [{}, ...this.#lines.map((line) => this.#series(line))],
      bands: this.#shown.bands?.map((band) => ({ ...band, fill: () => ink("--wash") })),
      hooks: {
        draw: [
          (u) => drawMarks(u, this.#shown.marks ?? []),
          (u) => drawNote(u, this.#shown.note),
          ...(this.labels ? [(u) => drawLabels(u, this.#lines)] : []),
        ],
        setCursor: [(u) => this.#read(u)],
      },
    };
  }

  #series(line) {
    const colour = ink(line.ink);
    const kind = line.kind ?? "line";
    return {
      stroke: () => colour,
      fill: kind === "bars" ? colour : undefined,
      width: kind === "bars" ? 0 : (line.width ?? 1.75),
      dash: line.dash ?? undefined,
      spanGaps: kind === "step" || line.dots === true,
      paths: PATHS[kind],
      points: {
        show: kind !== "bars",
        size: 5,
        width: 0,
        fill: colour,
        filter: (u, index) => (line.dots ? null : lonely(u.data[index])),
      },
    };
  }

  #range(low, high) {
    const floor = typeof this.floor === "function" ? this.floor(low) : this.floor;
    const top = this.ceiling ?? (high > floor ? high + (high - floor) * 0.08 : floor + 1);
    return [floor, top];
  }

  #read(u) {
    const index = u.cursor.idx;
    const mine = u.over.matches(":hover") || this.box.matches(":focus");
    if (index === null || index === undefined || !mine || u.cursor.left < 0) {
      this.tip.hidden = true;
      return;
    }
    const rows = this.#lines
      .map((line) => ({ line, value: (line.shown ?? line.values)[index] }))
      .filter((row) => row.value !== null && row.value !== undefined);
    if (this.#shown.sorted !== false) rows.sort((a, b) => b.value - a.value);
    const time = moment(this.#shown.times[index], this.#shown.step);
    fill(
      this.tip,
      h("b", {}, time),
      ...rows.map(({ line, value }) =>
        h("span", {}, h("i.dot", { "--c": `var(${line.ink})` }), line.name, h("em", {}, this.format(value))),
      ),
      rows.length ? "" : "no traffic",
    );
    this.tip.hidden = false;
    const left = u.cursor.left;
    this.tip.style.transform = `translateX(${left > u.over.clientWidth / 2 ? left - this.tip.offsetWidth - 14 : left + 14}px)`;
    if (this.box.matches(":focus-visible"))
      this.spoken.textContent = `${time}: ${rows.map(({ line, value }) => `${line.name} ${this.format(value)}`).join(", ") || "no traffic"}`;
  }

  #key(event) {
    const move = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
    if (!move || !this.#plot) return;
    event.preventDefault();
    const last = this.#shown.times.length - 1;
    const from = this.#plot.cursor.idx ?? (move > 0 ? -1 : last + 1);
    const index = Math.max(0, Math.min(last, move === -Infinity ? 0 : move === Infinity ? last : from + move));
    this.#plot.setCursor({ left: this.#plot.valToPos(this.#shown.times[index], "x"), top: 20 }, true, true);
  }

  #resize() {
    if (!this.#shown || this.box.hidden || this.width === this.box.clientWidth) return;
    this.width = this.box.clientWidth;
    this.#build();
  }

  #rows() {
    const { times } = this.#shown;
    const head = ["time", ...this.#lines.map((line) => line.name)];
    return [
      head,
      ...times.map((at, index) => [
        new Date(at * 1000).toISOString(),
        ...this.#lines.map((line) => (line.shown ?? line.values)[index]),
      ]),
    ];
  }
}

// Points of a line that have no neighbour: only a mark shows them.
function lonely(values) {
  const has = (index) => values[index] !== null && values[index] !== undefined;
  return values.map((_, index) => index).filter((index) => has(index) && !has(index - 1) && !has(index + 1));
}

function tick(at, step, { step: bucket }) {
  if (step >= 86_400) return bucket >= 86_400 ? day(at) : date(at);
  return new Date(at * 1000).getHours() === 0 && new Date(at * 1000).getMinutes() === 0 ? date(at) : clock(at);
}

export function redrawAll() {
  for (const chart of charts) chart.redraw();
}

onHighlight((id) => {
  lit = id;
  for (const chart of charts) chart.light(id);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redrawAll);
