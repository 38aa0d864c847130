// Grids of samples over time: a frame that shows one, and a slider over their steps.

import { sampleUrl } from "./api.js";
import { element } from "./elements.js";
import { count } from "./texts.js";

const FRAMES_PER_SECOND = 8;
const KEPT_IMAGES = 80;

/** Decoded images by URL, the newest used last. */
const decoded = new Map();

/** The image of a URL when it can be shown without a delay. */
function preload(url) {
  let entry = decoded.get(url);
  decoded.delete(url);
  if (!entry) {
    const image = new Image();
    image.src = url;
    entry = image.decode().then(() => image);
    // A failed load is tried again.
    entry.catch(() => decoded.delete(url));
  }
  decoded.set(url, entry);
  if (decoded.size > KEPT_IMAGES) decoded.delete(decoded.keys().next().value);
  return entry;
}

/** Forgets the images of a run that draws its grids again. */
export function forgetImages(name) {
  const own = sampleUrl(name, "");
  for (const url of decoded.keys()) {
    if (url.startsWith(own.slice(0, own.lastIndexOf("/") + 1))) decoded.delete(url);
  }
}

/** Index of the step of `steps` (ascending) that is nearest to `step`; 0 without steps. */
export function nearestIndex(steps, step) {
  let best = 0;
  steps.forEach((other, i) => {
    if (Math.abs(other - step) < Math.abs(steps[best] - step)) best = i;
  });
  return best;
}

/** A grid of samples of a run at a step, in a frame that keeps its shape. */
export class GridFrame {
  constructor(name, image) {
    this.name = name;
    this.empty = element("p", { class: "soft", text: "No grid yet" });
    this.node = element("div", { class: "frame" }, this.empty);
    // Grids are square tables of images, but for the last rows of few.
    if (image) this.node.style.setProperty("--aspect", `${image[1]} / ${image[0]}`);
    this.wanted = null;
  }

  /** Shows the grid of a step. Returns when it is shown or another one is wanted. */
  async show(step) {
    this.wanted = step;
    try {
      const image = await preload(sampleUrl(this.name, step));
      if (this.wanted !== step) return;
      image.alt = `Grid of generated images at step ${count(step)}`;
      image.className = "grid";
      this.node.style.setProperty("--aspect", `${image.naturalWidth} / ${image.naturalHeight}`);
      // The decoded element itself: a new address of an old one would be asked for again.
      if (this.node.firstChild !== image) this.node.replaceChildren(image);
    } catch {
      if (this.wanted !== step) return;
      this.node.replaceChildren(this.empty);
      this.empty.textContent = `The grid of step ${count(step)} cannot be read`;
    }
  }
}

/** A slider over steps with a play button; `onStep(step)` shows one and may return a promise. */
export class Scrubber {
  constructor({ onStep, onNear = () => {} }) {
    Object.assign(this, { onStep, onNear, steps: [], isPlaying: false });
    this.range = element("input", {
      type: "range",
      min: "0",
      max: "0",
      value: "0",
      "aria-label": "Step of the grid",
    });
    this.button = element(
      "button",
      {
        type: "button",
        "aria-pressed": "false",
        "aria-label": "Play the grids",
        title: "Play",
        onclick: () => (this.isPlaying ? this.stop() : this.play()),
      },
      element("span", { class: "icon", "aria-hidden": "true" }),
    );
    this.label = element("output", { text: "" });
    this.node = element("div", { class: "scrub" }, this.button, this.range, this.label);
    this.node.hidden = true;
    this.range.addEventListener("input", () => {
      this.stop();
      this.show(Number(this.range.value));
    });
  }

  get step() {
    return this.steps[Number(this.range.value)];
  }

  /** The steps that there are. A slider at its end stays there: a live run shows its newest. */
  setSteps(steps) {
    const isSame = steps.length === this.steps.length && steps.at(-1) === this.steps.at(-1);
    if (isSame) return;
    const old = this.step;
    const wasAtEnd = !this.steps.length || Number(this.range.value) === this.steps.length - 1;
    this.steps = steps;
    this.node.hidden = !steps.length;
    if (!steps.length) return;
    this.range.max = String(steps.length - 1);
    this.button.disabled = this.range.disabled = steps.length < 2;
    this.show(wasAtEnd && !this.isPlaying ? steps.length - 1 : nearestIndex(steps, old ?? 0));
  }

  /** Shows the step nearest to the given one. */
  seek(step) {
    if (!this.steps.length) return;
    this.stop();
    this.show(nearestIndex(this.steps, step));
  }

  async show(index) {
    this.range.value = String(index);
    const text = `step ${count(this.step)}`;
    this.label.textContent = text;
    this.range.setAttribute("aria-valuetext", text);
    const shown = this.onStep(this.step);
    for (const near of [index + 1, index - 1, index + 2]) {
      if (near >= 0 && near < this.steps.length) this.onNear(this.steps[near]);
    }
    await shown;
  }

  async play() {
    this.setPlaying(true);
    let index = Number(this.range.value);
    if (index === this.steps.length - 1) index = -1;
    while (this.isPlaying && index + 1 < this.steps.length) {
      index += 1;
      await Promise.all([
        this.show(index),
        new Promise((resolve) => setTimeout(resolve, 1000 / FRAMES_PER_SECOND)),
      ]);
      if (this.isPlaying && Number(this.range.value) !== index) index = Number(this.range.value);
    }
    this.setPlaying(false);
  }

  stop() {
    if (this.isPlaying) this.setPlaying(false);
  }

  setPlaying(isPlaying) {
    this.isPlaying = isPlaying;
    this.button.setAttribute("aria-pressed", String(isPlaying));
  }
}

/** Starts loading the grid of a step, so that it can be shown without a delay. */
export const preloadGrid = (name, step) => preload(sampleUrl(name, step)).catch(() => {});
