// Line charts of metrics on canvases: any number of rows, one shared x range, one crosshair.

import { count, duration, element, number, setText } from "./api.js";

// ---------------------------------------------------------------------------------------------
// Rows by column.

const BREAK = Infinity; // A value that is not finite (null in a row): the line has a gap.

/** Names of values in rows of earlier versions, and the present ones. */
const RENAMED = {
  g_gradient: "g_grad_norm",
  oscillation: "spectral_peak",
  "eval/memorised": "eval/memorized",
  "eval/memorised_real": "eval/memorized_real",
};

/** The numbers of metric rows, one growing array per name. NaN where a row has no such value. */
export class Columns {
  constructor() {
    this.length = 0;
    this.cut = 0; // How often rows were taken back: what was computed from them is void.
    this.byName = new Map();
    this.capacity = 1024;
    this.add("step");
    this.add("seconds");
  }

  add(name) {
    this.byName.set(name, new Float64Array(this.capacity).fill(NaN));
  }

  get(name) {
    return this.byName.get(name);
  }

  has(name) {
    return this.byName.has(name);
  }

  /** Appends rows. A run that goes back to a checkpoint computes its later rows again. */
  append(rows) {
    for (const row of rows) {
      if (this.length && row.step <= this.get("step")[this.length - 1]) this.truncate(row.step);
      if (this.length === this.capacity) this.grow();
      for (const [key, value] of Object.entries(row)) {
        const name = RENAMED[key] ?? key;
        if (typeof value !== "number" && value !== null) continue;
        if (!this.byName.has(name)) {
          if (value === null) continue;
          this.add(name);
        }
        this.byName.get(name)[this.length] = value ?? BREAK;
      }
      this.length += 1;
    }
  }

  /** Drops the rows of `step` and later ones. */
  truncate(step) {
    const kept = lowerBound(this.get("step"), this.length, step);
    for (const values of this.byName.values()) values.fill(NaN, kept, this.length);
    this.length = kept;
    this.cut += 1;
  }

  grow() {
    this.capacity *= 2;
    for (const [name, values] of this.byName) {
      const larger = new Float64Array(this.capacity).fill(NaN, this.length);
      larger.set(values);
      this.byName.set(name, larger);
    }
  }

  /** The newest finite value of a name. */
  last(name) {
    const values = this.byName.get(name);
    for (let i = this.length - 1; values && i >= 0; i--) {
      if (Number.isFinite(values[i])) return values[i];
    }
    return undefined;
  }
}

/** Index of the first of `length` ascending values that is at least `x`. */
function lowerBound(values, length, x) {
  let low = 0;
  let high = length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] < x) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * Exponential moving average with the correction for its start (Kingma & Ba 2015, section 3), kept
 * up as rows arrive.
 */
class Average {
  update(columns, name, weight) {
    const values = columns.get(name);
    if (this.weight !== weight || this.cut !== columns.cut || this.name !== name) {
      Object.assign(this, { weight, name, cut: columns.cut, length: 0, sum: 0, norm: 0 });
    }
    if (!this.values || this.values.length < values.length) {
      const larger = new Float64Array(values.length);
      larger.set(this.values ?? []);
      this.values = larger;
    }
    for (let i = this.length; i < columns.length; i++) {
      const value = values[i];
      if (!Number.isFinite(value)) {
        this.values[i] = value;
        continue;
      }
      this.sum = weight * this.sum + (1 - weight) * value;
      this.norm = weight * this.norm + (1 - weight);
      this.values[i] = this.sum / this.norm;
    }
    this.length = columns.length;
    return this.values;
  }
}

/** How many finite values a column has, and whether all are positive, kept up as rows arrive. */
class Facts {
  update(columns, name) {
    const values = columns.get(name);
    if (this.cut !== columns.cut) {
      Object.assign(this, { cut: columns.cut, length: 0, values: 0, isPositive: true });
    }
    for (let i = this.length; i < columns.length; i++) {
      if (!Number.isFinite(values[i])) continue;
      this.values += 1;
      if (!(values[i] > 0)) this.isPositive = false;
    }
    this.length = columns.length;
    return this;
  }
}

// ---------------------------------------------------------------------------------------------
// Axes.

/** Round values in [low, high], about `most` of them. */
function ticks(low, high, most) {
  const rough = (high - low) / Math.max(1, most);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) {
    found.push(i * step);
  }
  return { values: found, step };
}

const CLOCK_STEPS = [
  1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400,
];

function clockTicks(low, high, most) {
  const rough = (high - low) / Math.max(1, most);
  const step = CLOCK_STEPS.find((size) => size >= rough);
  if (rough < 1 || !step) return ticks(low, high, most);
  const values = [];
  for (let i = Math.ceil(low / step); i * step <= high; i++) values.push(i * step);
  return { values, step };
}

/** Powers of ten in [low, high], with 2 and 5 times them if they are few. */
function logTicks(low, high) {
  const values = [];
  const factors = Math.log10(high / low) < 2.5 ? [1, 2, 5] : [1];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
    for (const factor of factors) {
      const value = factor * 10 ** power;
      if (value >= low && value <= high) values.push(value);
    }
  }
  return { values: values.length > 1 ? values : [low, high], step: 0 };
}

/** A tick as a short text: `12k`, `0.25`; neighbours a `step` apart have different ones. */
function tickText(value, step) {
  const size = Math.abs(value);
  if (size >= 1e6 && step >= 1e4) return `${+(value / 1e6).toFixed(2)}M`;
  if (size >= 1e4 && step >= 100) return `${+(value / 1e3).toFixed(1)}k`;
  if (size >= 1e4) return count(value);
  if (size !== 0 && size < 1e-3) return value.toExponential(0).replace("e-", "e−");
  if (!step) return String(+value.toPrecision(2));
  return value.toFixed(Math.max(0, Math.min(6, -Math.floor(Math.log10(step) + 1e-9))));
}

function clockText(seconds) {
  if (seconds === 0) return "0";
  if (seconds < 60) return `${+seconds.toFixed(2)}s`;
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor((seconds % 3600) / 60);
  const rest = Math.round(seconds % 60);
  if (hours) return minutes ? `${hours}h${String(minutes).padStart(2, "0")}` : `${hours}h`;
  return rest ? `${minutes}:${String(rest).padStart(2, "0")}` : `${minutes}min`;
}

// ---------------------------------------------------------------------------------------------
// A group of charts.

const LEFT = 46;
const RIGHT = 8;
const TOP = 8;
const BOTTOM = 22;
const KEY_STEP = 1 / 100; // Of the range, for an arrow key.

/**
 * What the charts of a view share: the x axis and its range, the crosshair, smoothing. All drawing
 * happens in animation frames, at most once in each.
 */
export class ChartGroup {
  /** `onPick(step)` is called for a step that was clicked; `onRange(group)` for a new range. */
  constructor({ onPick = () => {}, onRange = () => {}, announce = () => {} } = {}) {
    Object.assign(this, { onPick, onRange, announce });
    this.charts = new Set();
    this.axis = "step";
    this.range = null; // All there is.
    this.hover = null; // An x value.
    this.pointed = null; // The chart with the pointer.
    this.marker = null; // A step, such as that of the grid shown beside.
    this.smoothing = 0.6;
    this.frame = 0;
    this.dark = matchMedia("(prefers-color-scheme: dark)");
    this.onTheme = () => this.draw();
    this.dark.addEventListener("change", this.onTheme);
    this.resizes = new ResizeObserver((entries) => {
      for (const { target } of entries) target.chart.resize();
    });
    this.views = new IntersectionObserver(
      (entries) => {
        for (const { target, isIntersecting } of entries) {
          target.chart.isVisible = isIntersecting;
          if (isIntersecting) this.schedule();
        }
        // Charts are ready before they are scrolled to.
      },
      { rootMargin: "500px 0px" },
    );
  }

  add(chart) {
    this.charts.add(chart);
    chart.plot.chart = chart;
    this.resizes.observe(chart.plot);
    this.views.observe(chart.plot);
  }

  /** Draws everything again. */
  draw() {
    this.extent = null;
    for (const chart of this.charts) chart.isStale = true;
    this.schedule();
  }

  /** Draws the crosshair again. */
  drawOverlays() {
    for (const chart of this.charts) chart.isOverlayStale = true;
    this.schedule();
  }

  schedule() {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      for (const chart of this.charts) chart.render();
    });
  }

  /** All x values: [first, last]. */
  all() {
    if (this.extent) return this.extent;
    let low = Infinity;
    let high = -Infinity;
    for (const chart of this.charts) {
      for (const { columns } of chart.series) {
        if (!columns.length) continue;
        const x = columns.get(this.axis);
        low = Math.min(low, x[0]);
        high = Math.max(high, x[columns.length - 1]);
      }
    }
    if (!(high > low)) [low, high] = low === high ? [low - 0.5, low + 0.5] : [0, 1];
    this.extent = [low, high];
    return this.extent;
  }

  shown() {
    return this.range ?? this.all();
  }

  /** Zooms to a range, or out with null. */
  zoom(range) {
    const [low, high] = this.all();
    if (range) {
      range = [Math.max(low, Math.min(...range)), Math.min(high, Math.max(...range))];
      const isAll = range[0] <= low && range[1] >= high;
      if (isAll || !(range[1] - range[0] > (high - low) * 1e-6)) range = isAll ? null : this.range;
    }
    this.range = range;
    this.onRange(this);
    this.draw();
  }

  setAxis(axis) {
    this.axis = axis;
    this.hover = null;
    this.zoom(null);
  }

  setSmoothing(weight) {
    this.smoothing = weight;
    this.draw();
  }

  setHover(x) {
    if (x === this.hover) return;
    this.hover = x;
    this.drawOverlays();
  }

  setMarker(step) {
    this.marker = step;
    this.drawOverlays();
  }

  /** An x value as a text. */
  text(x) {
    return this.axis === "seconds" ? duration(x) : `step ${count(x)}`;
  }

  close() {
    cancelAnimationFrame(this.frame);
    this.resizes.disconnect();
    this.views.disconnect();
    this.dark.removeEventListener("change", this.onTheme);
  }
}

/**
 * A chart. A series is `{columns, name, label, color, isNamed}`: a name of the columns, the name of
 * a custom property of the stylesheet for its colour, and whether the label is shown though it is
 * alone. `bounds` fixes the y axis unless values leave it, `alerts()` returns `[{step, kind,
 * message}]`.
 */
export class Chart {
  constructor(group, { title, series, bounds, alerts = () => [] }) {
    Object.assign(this, { group, title, series, bounds, alerts });
    this.isLog = false;
    this.isStale = true;
    this.isOverlayStale = true;
    this.isVisible = true;
    for (const one of series) Object.assign(one, { average: new Average(), facts: new Facts() });
    this.build();
    group.add(this);
  }

  build() {
    this.canvas = element("canvas", { "aria-hidden": "true" });
    this.overlay = element("canvas", {
      tabindex: "0",
      role: "img",
      "aria-keyshortcuts": "ArrowLeft ArrowRight + - Escape Enter",
    });
    this.tip = element("p", { class: "tip", hidden: true });
    this.plot = element("div", { class: "plot" }, this.canvas, this.overlay, this.tip);
    this.logButton = element("button", {
      type: "button",
      class: "quiet log",
      text: "log",
      "aria-pressed": "false",
      hidden: true,
      title: "Logarithmic y axis",
      "aria-label": `Logarithmic y axis of ${this.title}`,
      onclick: () => {
        this.isLog = !this.isLog;
        this.logButton.setAttribute("aria-pressed", String(this.isLog));
        this.isStale = true;
        this.group.schedule();
      },
    });
    const legend = element("dl", { class: "legend" });
    for (const one of this.series) {
      one.output = element("dd", { text: "–" });
      const swatch = element("span", { class: "swatch", "aria-hidden": "true" });
      swatch.style.background = `var(${one.color})`;
      // The title says what a single series is.
      const isAlone = this.series.length === 1 && !one.isNamed;
      legend.append(
        element(
          "div",
          {},
          isAlone
            ? element("dt", { class: "unseen", text: one.label })
            : element("dt", { title: one.label }, swatch, one.label),
          one.output,
        ),
      );
    }
    this.node = element(
      "figure",
      { class: "chart" },
      element("figcaption", {}, element("h3", { text: this.title }), this.logButton),
      legend,
      this.plot,
    );
    this.listen();
  }

  listen() {
    const target = this.overlay;
    const fingers = new Map();
    let start = null; // Where a drag of the mouse or pen began, in pixels.
    let pinch = null;
    const at = (event) => event.clientX - target.getBoundingClientRect().left;
    target.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      target.setPointerCapture(event.pointerId);
      fingers.set(event.pointerId, at(event));
      if (event.pointerType === "touch") {
        if (fingers.size === 2) pinch = [...fingers.values()].map((px) => this.toX(px));
        else this.group.setHover(this.toX(at(event)));
        this.tapped = at(event);
      } else {
        start = at(event);
      }
    });
    target.addEventListener("pointermove", (event) => {
      if (fingers.has(event.pointerId)) fingers.set(event.pointerId, at(event));
      if (pinch && fingers.size === 2) return this.pinched(pinch, [...fingers.values()]);
      if (start !== null) {
        this.selection = Math.abs(at(event) - start) > 4 ? [start, at(event)] : null;
      }
      this.group.pointed = this;
      this.group.setHover(this.toX(at(event)));
      this.group.drawOverlays();
    });
    const end = (event) => {
      fingers.delete(event.pointerId);
      if (fingers.size < 2) pinch = null;
      const selection = this.selection;
      const isClick = event.type === "pointerup" && (start !== null || this.tapped !== undefined);
      const from = start ?? this.tapped;
      start = null;
      this.tapped = undefined;
      this.selection = null;
      if (event.type !== "pointerup") return this.group.drawOverlays();
      if (selection) this.group.zoom(selection.map((px) => this.toX(px)));
      else if (isClick && Math.abs(at(event) - from) <= 4) this.pick(this.toX(at(event)));
    };
    target.addEventListener("pointerup", end);
    target.addEventListener("pointercancel", end);
    target.addEventListener("pointerleave", (event) => {
      if (event.pointerType !== "touch") this.group.setHover(null);
    });
    target.addEventListener("dblclick", () => this.group.zoom(null));
    target.addEventListener("keydown", (event) => this.key(event));
    target.addEventListener("blur", () => this.group.setHover(null));
  }

  /** Keeps the two x values that were touched first under the two fingers. */
  pinched([a, b], [pa, pb]) {
    if (Math.abs(pa - pb) < 8) return;
    const perPixel = (b - a) / (pb - pa);
    if (!(perPixel > 0)) return;
    const low = a - (pa - LEFT) * perPixel;
    this.group.zoom([low, low + this.width * perPixel]);
  }

  /** Reports the step at x. */
  pick(x) {
    const { columns } = this.series[0];
    const row = this.nearest(this.series[0], x);
    if (row >= 0) this.group.onPick(columns.get("step")[row]);
  }

  key(event) {
    const { group } = this;
    const [low, high] = group.shown();
    const x = group.hover ?? high;
    const step = (high - low) * KEY_STEP * (event.shiftKey ? 10 : 1);
    const around = (factor) => [x - (x - low) * factor, x + (high - x) * factor];
    const moves = {
      ArrowLeft: () => group.setHover(this.next(x, -step)),
      ArrowRight: () => group.setHover(this.next(x, step)),
      Home: () => group.setHover(low),
      End: () => group.setHover(high),
      "+": () => group.zoom(around(0.5)),
      "=": () => group.zoom(around(0.5)),
      "-": () => group.zoom(around(2)),
      Enter: () => this.pick(x),
      Escape: () => (group.hover === null ? group.zoom(null) : group.setHover(null)),
    };
    const move = moves[event.key];
    if (!move || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    group.pointed = this;
    move();
    if (group.hover !== null) group.announce(`${group.text(group.hover)}: ${this.values()}`);
  }

  /** The x value of a row at least `step` from x, within the range. */
  next(x, step) {
    const [low, high] = this.group.shown();
    return Math.min(high, Math.max(low, x + step));
  }

  /** All values under the crosshair (or the newest) as a text. */
  values() {
    return this.series.map((one) => `${one.label} ${one.output.textContent}`).join(", ");
  }

  resize() {
    const { clientWidth, clientHeight } = this.plot;
    this.width = clientWidth - LEFT - RIGHT;
    this.height = clientHeight - TOP - BOTTOM;
    this.scale = devicePixelRatio || 1;
    for (const canvas of [this.canvas, this.overlay]) {
      canvas.width = Math.round(clientWidth * this.scale);
      canvas.height = Math.round(clientHeight * this.scale);
    }
    this.isStale = true;
    // A canvas that was resized is empty until it is drawn: not in a later frame.
    if (this.width > 0) this.render();
  }

  toX(px) {
    const [low, high] = this.group.shown();
    const share = Math.min(1, Math.max(0, (px - LEFT) / this.width));
    return low + share * (high - low);
  }

  toPx(x) {
    const [low, high] = this.group.shown();
    return LEFT + ((x - low) / (high - low)) * this.width;
  }

  toPy(y) {
    const [low, high] = this.yRange;
    const share = this.isLog ? Math.log(y / low) / Math.log(high / low) : (y - low) / (high - low);
    return TOP + (1 - share) * this.height;
  }

  /** Row of the series' value nearest to x; −1 without values. */
  nearest({ columns, name }, x) {
    const xs = columns.get(this.group.axis);
    const ys = columns.get(name);
    const { length } = columns;
    if (!ys || !length) return -1;
    const start = lowerBound(xs, length, x);
    let after = start;
    while (after < length && !Number.isFinite(ys[after])) after++;
    let before = start - 1;
    while (before >= 0 && !Number.isFinite(ys[before])) before--;
    if (after >= length) return before;
    return before >= 0 && x - xs[before] <= xs[after] - x ? before : after;
  }

  render() {
    if (!this.isVisible || !(this.width > 0)) return;
    if (this.isStale) {
      this.isStale = false;
      this.isOverlayStale = true;
      this.draw();
    }
    if (this.isOverlayStale) {
      this.isOverlayStale = false;
      this.drawOverlay();
    }
  }

  context(canvas) {
    const context = canvas.getContext("2d");
    context.setTransform(this.scale, 0, 0, this.scale, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.font = '11px ui-sans-serif, system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';
    context.lineJoin = "round";
    return context;
  }

  draw() {
    const style = getComputedStyle(this.plot);
    this.colors = (name) => style.getPropertyValue(name).trim();
    const smoothed = this.group.smoothing > 0;
    this.lines = this.series
      .filter(({ columns, name }) => columns.has(name) && columns.length)
      .map((one) => this.line(one, smoothed));
    this.measure();
    const context = this.context(this.canvas);
    this.drawAxes(context);
    context.save();
    context.beginPath();
    context.rect(LEFT - 1, TOP - 3, this.width + 2, this.height + 6);
    context.clip();
    for (const line of this.lines) {
      const color = this.colors(line.one.color);
      context.lineWidth = 1;
      if (smoothed && line.isDense) {
        context.globalAlpha = 0.28;
        if (this.isShort(line)) this.drawLine(context, line, line.raw, color);
        else this.drawBand(context, line, color);
        context.globalAlpha = 1;
        context.lineWidth = 1.7;
        this.drawLine(context, line, line.smooth, color);
      } else {
        context.lineWidth = 1.5;
        this.drawLine(context, line, line.raw, color);
      }
    }
    context.restore();
    this.drawAlerts(context);
    this.describe();
  }

  /** The part of a series that is visible, and its smallest and largest values. */
  line(one, smoothed) {
    const { columns, name } = one;
    const [low, high] = this.group.shown();
    const xs = columns.get(this.group.axis);
    const first = Math.max(0, lowerBound(xs, columns.length, low) - 1);
    const last = Math.min(columns.length, lowerBound(xs, columns.length, high) + 1);
    const raw = columns.get(name);
    const { values, isPositive } = one.facts.update(columns, name);
    // A few values among many rows, as those of evaluations, are points that are not averaged.
    const isDense = values > columns.length / 4 && values > 2;
    const smooth =
      smoothed && isDense ? one.average.update(columns, name, this.group.smoothing) : null;
    return { one, xs, raw, smooth, first, last, isDense, isPositive };
  }

  /** Decides the y range. */
  measure() {
    const canLog = this.lines.length > 0 && this.lines.every((line) => line.isPositive);
    this.logButton.hidden = !canLog || Boolean(this.bounds);
    if (this.logButton.hidden) this.isLog = false;
    let low = Infinity;
    let high = -Infinity;
    const include = (value) => {
      if (value < low) low = value;
      if (value > high) high = value;
    };
    for (const { raw, smooth, first, last } of this.lines) {
      if (smooth && last - first > 100) {
        // Beside an average, rare extremes of the faint values may leave the chart.
        const sample = [];
        const stride = Math.max(1, Math.floor((last - first) / 1500));
        for (let i = first; i < last; i += stride) {
          if (Number.isFinite(raw[i])) sample.push(raw[i]);
        }
        sample.sort((a, b) => a - b);
        include(sample[Math.floor(sample.length * 0.01)]);
        include(sample[Math.ceil(sample.length * 0.99) - 1]);
        for (let i = first; i < last; i++) if (Number.isFinite(smooth[i])) include(smooth[i]);
      } else {
        for (let i = first; i < last; i++) if (Number.isFinite(raw[i])) include(raw[i]);
      }
    }
    if (!(high >= low)) [low, high] = [0, 1];
    if (this.bounds) {
      this.yRange = [Math.min(low, this.bounds[0]), Math.max(high, this.bounds[1])];
    } else if (this.isLog) {
      this.yRange = low === high ? [low / 2, high * 2] : [low / 1.1, high * 1.1];
    } else {
      const margin = (high - low) * 0.06 || Math.abs(high) * 0.1 || 1;
      // A chart of positive values that comes near zero shows zero.
      const isNearZero = low >= 0 && low < 0.35 * high;
      this.yRange = [isNearZero ? 0 : low - margin, high + margin];
    }
  }

  drawAxes(context) {
    const [low, high] = this.yRange;
    const y = this.isLog ? logTicks(low, high) : ticks(low, high, this.height / 34);
    context.fillStyle = this.colors("--soft");
    context.strokeStyle = this.colors("--line");
    context.lineWidth = 1;
    context.textAlign = "right";
    context.textBaseline = "middle";
    context.beginPath();
    for (const value of y.values) {
      const py = Math.round(this.toPy(value)) + 0.5;
      context.moveTo(LEFT, py);
      context.lineTo(LEFT + this.width, py);
      context.fillText(tickText(value, y.step), LEFT - 7, py);
    }
    context.stroke();
    const [left, right] = this.group.shown();
    const isTime = this.group.axis === "seconds";
    const x = (isTime ? clockTicks : ticks)(left, right, this.width / 76);
    context.textBaseline = "alphabetic";
    for (const value of x.values) {
      if (!isTime && !Number.isInteger(value)) continue;
      const px = this.toPx(value);
      const text = isTime ? clockText(value) : tickText(value, x.step);
      const half = context.measureText(text).width / 2;
      context.textAlign = "center";
      const inside = Math.min(LEFT + this.width + RIGHT - half, Math.max(LEFT + half, px));
      context.fillText(text, inside, TOP + this.height + 16);
    }
  }

  /** Whether each value of a line is drawn, not the extremes of each column of pixels. */
  isShort({ first, last }) {
    return last - first <= 2 * this.width * this.scale;
  }

  /** Fills the range of the values in each column of pixels. */
  drawBand(context, { xs, raw, first, last }, color) {
    const [low, high] = this.group.shown();
    const pxPerX = this.width / (high - low);
    const tops = [];
    const fill = () => {
      context.beginPath();
      for (const [px, top] of tops) context.lineTo(px, this.toPy(top));
      for (const [px, , bottom] of tops.reverse()) context.lineTo(px, this.toPy(bottom));
      context.fill();
      tops.length = 0;
    };
    context.fillStyle = color;
    let column = NaN;
    for (let i = first; i < last; i++) {
      const y = raw[i];
      if (Number.isNaN(y) || (this.isLog && y <= 0)) continue;
      if (y === BREAK) {
        fill();
        column = NaN;
        continue;
      }
      const own = Math.floor((LEFT + (xs[i] - low) * pxPerX) * this.scale);
      const band = tops.at(-1);
      if (own !== column) {
        column = own;
        tops.push([own / this.scale, y, y]);
      } else if (y > band[1]) {
        band[1] = y;
      } else if (y < band[2]) {
        band[2] = y;
      }
    }
    fill();
  }

  /** Draws values, with at most four points per column of pixels. */
  drawLine(context, { xs, first, last, isDense }, ys, color) {
    const [low, high] = this.group.shown();
    const pxPerX = this.width / (high - low);
    const px = (x) => LEFT + (x - low) * pxPerX;
    context.strokeStyle = color;
    context.fillStyle = color;
    context.beginPath();
    const isShort = this.isShort({ first, last });
    context.lineJoin = isShort ? "round" : "bevel";
    if (isShort) {
      this.tracePoints(context, xs, ys, first, last, px);
    } else {
      this.traceColumns(context, xs, ys, first, last, px);
    }
    context.stroke();
    if (isDense && last - first > 40) return;
    context.beginPath();
    let isAlone = true; // A single point between gaps would not be seen as a line.
    for (let i = first; i < last; i++) {
      if (!Number.isFinite(ys[i]) || (this.isLog && ys[i] <= 0)) continue;
      isAlone = false;
      const [cx, cy] = [px(xs[i]), this.toPy(ys[i])];
      context.moveTo(cx + 2.2, cy);
      context.arc(cx, cy, 2.2, 0, 2 * Math.PI);
    }
    if (!isAlone) context.fill();
  }

  tracePoints(context, xs, ys, first, last, px) {
    let isPenDown = false;
    for (let i = first; i < last; i++) {
      const y = ys[i];
      if (Number.isNaN(y)) continue;
      if (y === BREAK) {
        isPenDown = false;
        continue;
      }
      if (isPenDown) context.lineTo(px(xs[i]), this.toPy(y));
      else context.moveTo(px(xs[i]), this.toPy(y));
      isPenDown = true;
    }
  }

  traceColumns(context, xs, ys, first, last, px) {
    const perColumn = this.scale;
    let isPenDown = false;
    let column = NaN;
    let open, low, high, close;
    const flush = () => {
      if (Number.isNaN(column)) return;
      const x = column / perColumn;
      if (isPenDown) context.lineTo(x, this.toPy(open));
      else context.moveTo(x, this.toPy(open));
      context.lineTo(x, this.toPy(low));
      context.lineTo(x, this.toPy(high));
      context.lineTo(x, this.toPy(close));
      isPenDown = true;
    };
    for (let i = first; i < last; i++) {
      const y = ys[i];
      if (Number.isNaN(y)) continue;
      if (y === BREAK) {
        flush();
        column = NaN;
        isPenDown = false;
        continue;
      }
      const own = Math.floor(px(xs[i]) * perColumn);
      if (own === column) {
        if (y < low) low = y;
        if (y > high) high = y;
        close = y;
      } else {
        flush();
        column = own;
        open = low = high = close = y;
      }
    }
    flush();
  }

  /** Alerts of the monitor: a dashed line at each, with a triangle at its top. */
  drawAlerts(context) {
    const { columns } = this.series[0];
    const [low, high] = this.group.shown();
    const steps = columns.get("step");
    this.alertPixels = [];
    context.save();
    context.strokeStyle = context.fillStyle = this.colors("--accent");
    context.setLineDash([3, 3]);
    for (const alert of this.alerts()) {
      let x = alert.step;
      if (this.group.axis === "seconds") {
        const row = Math.min(columns.length - 1, lowerBound(steps, columns.length, alert.step));
        x = columns.get("seconds")[row];
      }
      if (!(x >= low && x <= high)) continue;
      const px = Math.round(this.toPx(x)) + 0.5;
      this.alertPixels.push({ px, alert });
      context.globalAlpha = 0.6;
      context.beginPath();
      context.moveTo(px, TOP);
      context.lineTo(px, TOP + this.height);
      context.stroke();
      context.globalAlpha = 1;
      context.beginPath();
      context.moveTo(px - 5, TOP - 7);
      context.lineTo(px + 5, TOP - 7);
      context.lineTo(px, TOP + 2);
      context.fill();
    }
    context.restore();
  }

  drawOverlay() {
    const { group } = this;
    const context = this.context(this.overlay);
    const bottom = TOP + this.height;
    const vertical = (px) => {
      context.beginPath();
      context.moveTo(Math.round(px) + 0.5, TOP);
      context.lineTo(Math.round(px) + 0.5, bottom);
      context.stroke();
    };
    const [low, high] = group.shown();
    const isMarked = group.marker !== null && group.axis === "step" && group.hover === null;
    if (isMarked && group.marker >= low && group.marker <= high) {
      context.fillStyle = this.colors("--ink");
      const px = this.toPx(group.marker);
      context.beginPath();
      context.moveTo(px - 4.5, bottom + 6);
      context.lineTo(px + 4.5, bottom + 6);
      context.lineTo(px, bottom);
      context.fill();
    }
    if (this.selection) {
      const [a, b] = this.selection.map((px) => Math.min(LEFT + this.width, Math.max(LEFT, px)));
      context.fillStyle = this.colors("--accent");
      context.globalAlpha = 0.14;
      context.fillRect(Math.min(a, b), TOP, Math.abs(b - a), this.height);
      context.globalAlpha = 1;
    }
    this.readValues();
    if (group.hover === null) {
      this.tip.hidden = true;
      return;
    }
    const px = this.toPx(group.hover);
    context.strokeStyle = this.colors("--soft");
    context.lineWidth = 1;
    vertical(px);
    for (const { one, smooth, raw, xs, isDense } of this.lines ?? []) {
      const row = this.nearest(one, group.hover);
      if (row < 0) continue;
      const y = (isDense && smooth ? smooth : raw)[row];
      if (this.isLog && !(y > 0)) continue;
      const [cx, cy] = [this.toPx(xs[row]), this.toPy(y)];
      if (cx < LEFT - 1 || cx > LEFT + this.width + 1) continue;
      if (cy < TOP - 2 || cy > bottom + 2) continue;
      context.fillStyle = this.colors(one.color);
      context.strokeStyle = this.colors("--raised");
      context.lineWidth = 2;
      context.beginPath();
      context.arc(cx, cy, 4, 0, 2 * Math.PI);
      context.fill();
      context.stroke();
    }
    this.showTip(px);
  }

  /** Writes the values at the crosshair, or the newest ones, into the legend. */
  readValues() {
    const { hover } = this.group;
    for (const one of this.series) {
      const row = hover === null ? -1 : this.nearest(one, hover);
      const value = row < 0 ? one.columns.last(one.name) : one.columns.get(one.name)[row];
      setText(one.output, number(value));
    }
  }

  /** The box at the crosshair: the step, and an alert near it. */
  showTip(px) {
    const { group } = this;
    // An alert is told once, where the pointer is.
    const near = (group.pointed === this ? this.alertPixels : [])
      .filter((mark) => Math.abs(mark.px - px) < 7)
      .sort((a, b) => Math.abs(a.px - px) - Math.abs(b.px - px))[0];
    // The nearest row's own x, so that a step is a whole number.
    const row = this.nearest(this.series[0], group.hover);
    const x = row < 0 ? group.hover : this.series[0].columns.get(group.axis)[row];
    setText(this.tip, near ? `${near.alert.kind}: ${near.alert.message}` : group.text(x));
    this.tip.classList.toggle("alert", Boolean(near));
    this.tip.hidden = false;
    const room = this.plot.clientWidth - this.tip.offsetWidth - 4;
    this.tip.style.left = `${Math.max(4, Math.min(room, px - this.tip.offsetWidth / 2))}px`;
  }

  describe() {
    if (this.group.hover !== null) return;
    this.readValues();
    const [low, high] = this.group.shown();
    const range = `${this.group.text(low)} to ${this.group.text(high)}`;
    this.overlay.setAttribute("aria-label", `${this.title}, ${range}. Newest: ${this.values()}`);
  }
}
