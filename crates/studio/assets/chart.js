// A line chart of metrics on canvases, of any number of rows.

import { BOTTOM, LEFT, RIGHT, TOP, drawAxes } from "./axes.js";
import { Average, Facts, lowerBound } from "./columns.js";
import { element, setText } from "./elements.js";
import { listen } from "./gestures.js";
import { drawBand, drawLine, isShort } from "./lines.js";
import { drawAlerts, drawOverlay } from "./marks.js";
import { number } from "./texts.js";

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
    listen(this);
  }

  /** Reports the step at x. */
  pick(x) {
    const { columns } = this.series[0];
    const row = this.nearest(this.series[0], x);
    if (row >= 0) this.group.onPick(columns.get("step")[row]);
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
      drawOverlay(this);
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
    drawAxes(this, context);
    context.save();
    context.beginPath();
    context.rect(LEFT - 1, TOP - 3, this.width + 2, this.height + 6);
    context.clip();
    for (const line of this.lines) {
      const color = this.colors(line.one.color);
      context.lineWidth = 1;
      if (smoothed && line.isDense) {
        context.globalAlpha = 0.28;
        if (isShort(this, line)) drawLine(this, context, line, line.raw, color);
        else drawBand(this, context, line, color);
        context.globalAlpha = 1;
        context.lineWidth = 1.7;
        drawLine(this, context, line, line.smooth, color);
      } else {
        context.lineWidth = 1.5;
        drawLine(this, context, line, line.raw, color);
      }
    }
    context.restore();
    drawAlerts(this, context);
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
