// The mouse, fingers and keys on a chart: crosshair, zoom, choice of a step.

import { LEFT } from "./axes.js";

const KEY_STEP = 1 / 100; // Of the range, for an arrow key.

/** Follows the pointers and keys on a chart. */
export function listen(chart) {
  const target = chart.overlay;
  const fingers = new Map();
  let start = null; // Where a drag of the mouse or pen began, in pixels.
  let pinch = null;
  const at = (event) => event.clientX - target.getBoundingClientRect().left;
  target.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    target.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, at(event));
    if (event.pointerType === "touch") {
      if (fingers.size === 2) pinch = [...fingers.values()].map((px) => chart.toX(px));
      else chart.group.setHover(chart.toX(at(event)));
      chart.tapped = at(event);
    } else {
      start = at(event);
    }
  });
  target.addEventListener("pointermove", (event) => {
    if (fingers.has(event.pointerId)) fingers.set(event.pointerId, at(event));
    if (pinch && fingers.size === 2) return pinched(chart, pinch, [...fingers.values()]);
    if (start !== null) {
      chart.selection = Math.abs(at(event) - start) > 4 ? [start, at(event)] : null;
    }
    chart.group.pointed = chart;
    chart.group.setHover(chart.toX(at(event)));
    chart.group.drawOverlays();
  });
  const end = (event) => {
    fingers.delete(event.pointerId);
    if (fingers.size < 2) pinch = null;
    const selection = chart.selection;
    const isClick = event.type === "pointerup" && (start !== null || chart.tapped !== undefined);
    const from = start ?? chart.tapped;
    start = null;
    chart.tapped = undefined;
    chart.selection = null;
    if (event.type !== "pointerup") return chart.group.drawOverlays();
    if (selection) chart.group.zoom(selection.map((px) => chart.toX(px)));
    else if (isClick && Math.abs(at(event) - from) <= 4) chart.pick(chart.toX(at(event)));
  };
  target.addEventListener("pointerup", end);
  target.addEventListener("pointercancel", end);
  target.addEventListener("pointerleave", (event) => {
    if (event.pointerType !== "touch") chart.group.setHover(null);
  });
  target.addEventListener("dblclick", () => chart.group.zoom(null));
  target.addEventListener("keydown", (event) => key(chart, event));
  target.addEventListener("blur", () => chart.group.setHover(null));
}

/** Keeps the two x values that were touched first under the two fingers. */
function pinched(chart, [a, b], [pa, pb]) {
  if (Math.abs(pa - pb) < 8) return;
  const perPixel = (b - a) / (pb - pa);
  if (!(perPixel > 0)) return;
  const low = a - (pa - LEFT) * perPixel;
  chart.group.zoom([low, low + chart.width * perPixel]);
}

function key(chart, event) {
  const { group } = chart;
  const [low, high] = group.shown();
  const x = group.hover ?? high;
  const step = (high - low) * KEY_STEP * (event.shiftKey ? 10 : 1);
  const around = (factor) => [x - (x - low) * factor, x + (high - x) * factor];
  const moves = {
    ArrowLeft: () => group.setHover(next(chart, x, -step)),
    ArrowRight: () => group.setHover(next(chart, x, step)),
    Home: () => group.setHover(low),
    End: () => group.setHover(high),
    "+": () => group.zoom(around(0.5)),
    "=": () => group.zoom(around(0.5)),
    "-": () => group.zoom(around(2)),
    Enter: () => chart.pick(x),
    Escape: () => (group.hover === null ? group.zoom(null) : group.setHover(null)),
  };
  const move = moves[event.key];
  if (!move || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  group.pointed = chart;
  move();
  if (group.hover !== null) group.announce(`${group.text(group.hover)}: ${chart.values()}`);
}

/** The x value of a row at least `step` from x, within the range. */
function next(chart, x, step) {
  const [low, high] = chart.group.shown();
  return Math.min(high, Math.max(low, x + step));
}
