// What is drawn over the lines of a chart: alerts, the crosshair, the step of the grid beside.

import { LEFT, TOP } from "./axes.js";
import { lowerBound } from "./columns.js";

/** Alerts of the monitor: a dashed line at each, with a triangle at its top. */
export function drawAlerts(chart, context) {
  const { columns } = chart.series[0];
  const [low, high] = chart.group.shown();
  const steps = columns.get("step");
  chart.alertPixels = [];
  context.save();
  context.strokeStyle = context.fillStyle = chart.colors("--accent");
  context.setLineDash([3, 3]);
  for (const alert of chart.alerts()) {
    let x = alert.step;
    if (chart.group.axis === "seconds") {
      const row = Math.min(columns.length - 1, lowerBound(steps, columns.length, alert.step));
      x = columns.get("seconds")[row];
    }
    if (!(x >= low && x <= high)) continue;
    const px = Math.round(chart.toPx(x)) + 0.5;
    chart.alertPixels.push({ px, alert });
    context.globalAlpha = 0.6;
    context.beginPath();
    context.moveTo(px, TOP);
    context.lineTo(px, TOP + chart.height);
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

/** Draws the marked step, what is selected, and the crosshair with its values. */
export function drawOverlay(chart) {
  const { group } = chart;
  const context = chart.context(chart.overlay);
  const bottom = TOP + chart.height;
  const vertical = (px) => {
    context.beginPath();
    context.moveTo(Math.round(px) + 0.5, TOP);
    context.lineTo(Math.round(px) + 0.5, bottom);
    context.stroke();
  };
  const [low, high] = group.shown();
  const isMarked = group.marker !== null && group.axis === "step" && group.hover === null;
  if (isMarked && group.marker >= low && group.marker <= high) {
    context.fillStyle = chart.colors("--ink");
    const px = chart.toPx(group.marker);
    context.beginPath();
    context.moveTo(px - 4.5, bottom + 6);
    context.lineTo(px + 4.5, bottom + 6);
    context.lineTo(px, bottom);
    context.fill();
  }
  if (chart.selection) {
    const [a, b] = chart.selection.map((px) => Math.min(LEFT + chart.width, Math.max(LEFT, px)));
    context.fillStyle = chart.colors("--accent");
    context.globalAlpha = 0.14;
    context.fillRect(Math.min(a, b), TOP, Math.abs(b - a), chart.height);
    context.globalAlpha = 1;
  }
  chart.readValues();
  if (group.hover === null) {
    chart.tip.hidden = true;
    return;
  }
  const px = chart.toPx(group.hover);
  context.strokeStyle = chart.colors("--soft");
  context.lineWidth = 1;
  vertical(px);
  for (const { one, smooth, raw, xs, isDense } of chart.lines ?? []) {
    const row = chart.nearest(one, group.hover);
    if (row < 0) continue;
    const y = (isDense && smooth ? smooth : raw)[row];
    if (chart.isLog && !(y > 0)) continue;
    const [cx, cy] = [chart.toPx(xs[row]), chart.toPy(y)];
    if (cx < LEFT - 1 || cx > LEFT + chart.width + 1) continue;
    if (cy < TOP - 2 || cy > bottom + 2) continue;
    context.fillStyle = chart.colors(one.color);
    context.strokeStyle = chart.colors("--raised");
    context.lineWidth = 2;
    context.beginPath();
    context.arc(cx, cy, 4, 0, 2 * Math.PI);
    context.fill();
    context.stroke();
  }
  chart.showTip(px);
}
