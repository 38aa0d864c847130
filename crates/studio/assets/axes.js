// The axes of a chart: the room that they take, their ticks and the texts of these.

import { count } from "./texts.js";

// Pixels around the plot, for the texts of the axes.
export const LEFT = 46;
export const RIGHT = 8;
export const TOP = 8;
export const BOTTOM = 22;

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

/** Draws the ticks of both axes, with a line at each of y. */
export function drawAxes(chart, context) {
  const [low, high] = chart.yRange;
  const y = chart.isLog ? logTicks(low, high) : ticks(low, high, chart.height / 34);
  context.fillStyle = chart.colors("--soft");
  context.strokeStyle = chart.colors("--line");
  context.lineWidth = 1;
  context.textAlign = "right";
  context.textBaseline = "middle";
  context.beginPath();
  for (const value of y.values) {
    const py = Math.round(chart.toPy(value)) + 0.5;
    context.moveTo(LEFT, py);
    context.lineTo(LEFT + chart.width, py);
    context.fillText(tickText(value, y.step), LEFT - 7, py);
  }
  context.stroke();
  const [left, right] = chart.group.shown();
  const isTime = chart.group.axis === "seconds";
  const x = (isTime ? clockTicks : ticks)(left, right, chart.width / 76);
  context.textBaseline = "alphabetic";
  for (const value of x.values) {
    if (!isTime && !Number.isInteger(value)) continue;
    const px = chart.toPx(value);
    const text = isTime ? clockText(value) : tickText(value, x.step);
    const half = context.measureText(text).width / 2;
    context.textAlign = "center";
    const inside = Math.min(LEFT + chart.width + RIGHT - half, Math.max(LEFT + half, px));
    context.fillText(text, inside, TOP + chart.height + 16);
  }
}
