// A group of line charts: one shared x range, one crosshair.

import { count, duration } from "./texts.js";

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

  /** Puts a chart into the page: where the `old` one is, or at the end of `parent`. */
  place(chart, old, parent) {
    if (!old) {
      parent.append(chart.node);
      return;
    }
    old.node.replaceWith(chart.node);
    this.charts.delete(old);
    this.resizes.unobserve(old.plot);
    this.views.unobserve(old.plot);
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
