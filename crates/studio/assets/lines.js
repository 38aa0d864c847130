// The lines of a chart: of many values, the extremes of each column of pixels.

import { LEFT } from "./axes.js";
import { BREAK } from "./columns.js";

/** Whether each value of a line is drawn, not the extremes of each column of pixels. */
export function isShort(chart, { first, last }) {
  return last - first <= 2 * chart.width * chart.scale;
}

/** Fills the range of the values in each column of pixels. */
export function drawBand(chart, context, { xs, raw, first, last }, color) {
  const [low, high] = chart.group.shown();
  const pxPerX = chart.width / (high - low);
  const tops = [];
  const fill = () => {
    context.beginPath();
    for (const [px, top] of tops) context.lineTo(px, chart.toPy(top));
    for (const [px, , bottom] of tops.reverse()) context.lineTo(px, chart.toPy(bottom));
    context.fill();
    tops.length = 0;
  };
  context.fillStyle = color;
  let column = NaN;
  for (let i = first; i < last; i++) {
    const y = raw[i];
    if (Number.isNaN(y) || (chart.isLog && y <= 0)) continue;
    if (y === BREAK) {
      fill();
      column = NaN;
      continue;
    }
    const own = Math.floor((LEFT + (xs[i] - low) * pxPerX) * chart.scale);
    const band = tops.at(-1);
    if (own !== column) {
      column = own;
      tops.push([own / chart.scale, y, y]);
    } else if (y > band[1]) {
      band[1] = y;
    } else if (y < band[2]) {
      band[2] = y;
    }
  }
  fill();
}

/** Draws values, with at most four points per column of pixels. */
export function drawLine(chart, context, { xs, first, last, isDense }, ys, color) {
  const [low, high] = chart.group.shown();
  const pxPerX = chart.width / (high - low);
  const px = (x) => LEFT + (x - low) * pxPerX;
  context.strokeStyle = color;
  context.fillStyle = color;
  context.beginPath();
  const isEachDrawn = isShort(chart, { first, last });
  context.lineJoin = isEachDrawn ? "round" : "bevel";
  if (isEachDrawn) {
    tracePoints(chart, context, xs, ys, first, last, px);
  } else {
    traceColumns(chart, context, xs, ys, first, last, px);
  }
  context.stroke();
  if (isDense && last - first > 40) return;
  context.beginPath();
  let isAlone = true; // A single point between gaps would not be seen as a line.
  for (let i = first; i < last; i++) {
    if (!Number.isFinite(ys[i]) || (chart.isLog && ys[i] <= 0)) continue;
    isAlone = false;
    const [cx, cy] = [px(xs[i]), chart.toPy(ys[i])];
    context.moveTo(cx + 2.2, cy);
    context.arc(cx, cy, 2.2, 0, 2 * Math.PI);
  }
  if (!isAlone) context.fill();
}

function tracePoints(chart, context, xs, ys, first, last, px) {
  let isPenDown = false;
  for (let i = first; i < last; i++) {
    const y = ys[i];
    if (Number.isNaN(y)) continue;
    if (y === BREAK) {
      isPenDown = false;
      continue;
    }
    if (isPenDown) context.lineTo(px(xs[i]), chart.toPy(y));
    else context.moveTo(px(xs[i]), chart.toPy(y));
    isPenDown = true;
  }
}

function traceColumns(chart, context, xs, ys, first, last, px) {
  const perColumn = chart.scale;
  let isPenDown = false;
  let column = NaN;
  let open, low, high, close;
  const flush = () => {
    if (Number.isNaN(column)) return;
    const x = column / perColumn;
    if (isPenDown) context.lineTo(x, chart.toPy(open));
    else context.moveTo(x, chart.toPy(open));
    context.lineTo(x, chart.toPy(low));
    context.lineTo(x, chart.toPy(high));
    context.lineTo(x, chart.toPy(close));
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
