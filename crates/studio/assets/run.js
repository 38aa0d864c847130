// One run: its progress, grids, charts, note, configuration and checkpoints; live while it trains.
// The comparison of runs uses the parts of this page.

import {
  Follower,
  LostError,
  announce,
  bytes,
  commandLine,
  control,
  copyButton,
  count,
  description,
  duration,
  element,
  exploreUrl,
  getRun,
  getRuns,
  number,
  onLink,
  plural,
  probability,
  putNote,
  quoted,
  readRows,
  realUrl,
  sampleUrl,
  setText,
} from "./api.js";
import { Chart, ChartGroup, Columns } from "./chart.js";

// ---------------------------------------------------------------------------------------------
// A run's data, followed.

const READING_MILLISECONDS = 400;

/**
 * The details and rows of a run. `onChange(kind)` is called with `detail`, `rows`, or
 * `read` when the rows that there are have been read, and
 * `onError(error)` where the run cannot be read.
 */
export class Feed {
  constructor(name, { onChange, onError, isFollowed = () => true }) {
    Object.assign(this, { name, onChange, onError, isFollowed });
    this.columns = new Columns();
    this.detail = null;
    this.isReading = false;
    this.abort = new AbortController();
    this.ready = this.open();
  }

  async open() {
    const { signal } = this.abort;
    try {
      this.detail = await getRun(this.name, signal);
      this.onChange("detail");
      await this.read();
    } catch (error) {
      this.fail(error);
    }
  }

  /** A lost server comes back; a run that is not there does not. */
  fail(error) {
    if (this.abort.signal.aborted) return;
    if (!(error instanceof LostError)) {
      this.onError(error);
      return;
    }
    this.unlink?.();
    this.unlink = onLink((isUp) => {
      if (!isUp) return;
      this.unlink();
      this.open();
    });
  }

  /** Reads all rows, then follows the run. */
  async read() {
    const { signal } = this.abort;
    this.follower?.close();
    this.columns.truncate(0);
    this.isReading = true;
    const next = await readRows(this.name, (rows) => this.append(rows), signal);
    if (signal.aborted) return;
    this.isReading = false;
    this.onChange("read");
    this.onChange("rows");
    if (this.isFollowed(this.detail)) this.follow(next);
  }

  follow(next) {
    const handlers = {
      reset: () => {
        this.columns.truncate(0);
        forgetImages(this.name);
      },
      metrics: (rows) => this.append(rows),
      samples: (steps) => this.change({ samples: steps }),
      checkpoints: (checkpoints) => this.change({ checkpoints }),
      state: (summary) => {
        const { summary: old } = this.detail;
        this.change({ summary });
        if (old.state !== summary.state || old.alerts !== summary.alerts) this.refresh();
      },
    };
    this.follower = new Follower(this.name, next, handlers, (error) => this.fail(error));
  }

  append(rows) {
    this.columns.append(rows);
    // A long file is drawn a few times while it is read, not in each frame.
    const now = performance.now();
    if (this.isReading && now - this.shown < READING_MILLISECONDS) return;
    this.shown = now;
    this.onChange("rows");
  }

  change(part) {
    Object.assign(this.detail, part);
    this.onChange("detail");
  }

  /** Reads the details again: an alert was raised, or the run ended or went on. */
  async refresh() {
    try {
      this.change(await getRun(this.name, this.abort.signal));
    } catch (error) {
      this.fail(error);
    }
  }

  close() {
    this.abort.abort();
    this.unlink?.();
    this.follower?.close();
  }
}

// ---------------------------------------------------------------------------------------------
// What is charted.

const KNOWN_CHARTS = [
  { title: "Losses", names: { d_loss: "D", g_loss: "G" } },
  { title: "Output of D", names: { d_real: "D(x)", d_fake: "D(G(z))" }, bounds: [0, 1] },
  { title: "Accuracy of D", names: { d_accuracy: "accuracy" }, bounds: [0, 1] },
  { title: "Gradient norm of G", names: { g_grad_norm: "norm" } },
  { title: "Images per second", names: { images_per_second: "images/s" } },
  { title: "Waiting share", names: { waiting: "share of time" }, bounds: [0, 1] },
  { title: "Learning rate", names: { lr: "both", d_lr: "D", g_lr: "G" } },
  { title: "Diversity of the grid", names: { diversity: "mean distance" } },
  { title: "Near-duplicates", names: { duplicates: "share of the grid" }, bounds: [0, 1] },
  { title: "Spectral peak", names: { spectral_peak: "share of power" } },
];
const METRIC_TITLES = {
  frechet: "Fréchet distance",
  kernel: "Kernel distance",
  precision: "Precision",
  recall: "Recall",
  density: "Density",
  coverage: "Coverage",
  inception_score: "Inception score",
  memorized: "Memorized",
};
const EVALUATION = "eval/";
const REAL = "_real";

/** The title of an evaluation metric. */
export const metricTitle = (key) => METRIC_TITLES[key] ?? key;

/** The charts of the values that `columns` has: `[{title, names: {name: label}, bounds}]`. */
export function chartsOf(columns) {
  const rest = new Set(columns.byName.keys());
  rest.delete("step");
  rest.delete("seconds");
  const take = (names) => names.filter(([name]) => rest.delete(name));
  const known = [];
  for (const chart of KNOWN_CHARTS) {
    const names = take(Object.entries(chart.names));
    if (names.length) known.push({ ...chart, names: Object.fromEntries(names) });
  }
  const evaluated = [];
  const others = [];
  for (const name of [...rest].sort()) {
    const isReal = name.endsWith(REAL) && rest.has(name.slice(0, -REAL.length));
    if (isReal) continue;
    if (!name.startsWith(EVALUATION)) {
      others.push({ title: name, names: { [name]: name } });
      continue;
    }
    const names = { [name]: rest.has(name + REAL) ? "generated" : "value" };
    if (rest.has(name + REAL)) names[name + REAL] = "real";
    evaluated.push({ title: metricTitle(name.slice(EVALUATION.length)), names });
  }
  return [...known.slice(0, 2), ...evaluated, ...known.slice(2), ...others];
}

const SMOOTHING_SCALE = 33; // Up to an average over a thousand rows.

/** The controls of a chart group: smoothing, x axis, range. */
export function chartControls(group) {
  const output = element("output", { text: "" });
  // The slider is finer where an average covers many rows.
  const weightOf = (position) => (position === 0 ? 0 : 1 - 10 ** (-position / SMOOTHING_SCALE));
  const slider = element("input", {
    type: "range",
    min: "0",
    max: "100",
    step: "1",
    value: "16",
    "aria-label": "Smoothing",
  });
  let isOwn = false; // Chosen by the person.
  const smooth = () => {
    const weight = weightOf(Number(slider.value));
    output.textContent = weight === 0 ? "off" : weight.toFixed(weight > 0.985 ? 3 : 2);
    slider.setAttribute("aria-valuetext", output.textContent);
    group.setSmoothing(weight);
  };
  slider.addEventListener("input", () => {
    isOwn = true;
    smooth();
  });
  smooth();
  /** Chooses an average over a hundredth of the rows. */
  group.suit = (rows) => {
    if (isOwn) return;
    slider.value = String(Math.round(SMOOTHING_SCALE * Math.log10(Math.max(2, rows / 100))));
    smooth();
  };
  const reset = element("button", {
    type: "button",
    text: "Reset zoom",
    title: "Show all (double-click on a chart)",
    onclick: () => group.zoom(null),
  });
  reset.disabled = true;
  const range = element("span", { class: "soft range" });
  const onRange = () => {
    reset.disabled = group.range === null;
    setText(
      range,
      group.range
        ? `${group.text(group.range[0])} to ${group.text(group.range[1]).replace("step ", "")}`
        : "",
    );
  };
  group.onRange = onRange;
  onRange();
  const axis = (value, label, isChecked) =>
    element(
      "label",
      { class: "chip" },
      element("input", {
        type: "radio",
        name: "axis",
        value,
        checked: isChecked,
        onchange: () => group.setAxis(value),
      }),
      element("span", { text: label }),
    );
  return element(
    "form",
    { class: "controls", "aria-label": "Charts", onsubmit: (e) => e.preventDefault() },
    element(
      "label",
      { class: "field slider" },
      element("span", { text: "Smoothing" }),
      slider,
      output,
    ),
    element(
      "fieldset",
      { class: "chips" },
      element("legend", { class: "unseen", text: "Horizontal axis" }),
      axis("step", "Steps", true),
      axis("seconds", "Time", false),
    ),
    element("div", { class: "buttons" }, reset, range),
  );
}

// ---------------------------------------------------------------------------------------------
// Grids over time.

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
function forgetImages(name) {
  const own = sampleUrl(name, "");
  for (const url of decoded.keys()) {
    if (url.startsWith(own.slice(0, own.lastIndexOf("/") + 1))) decoded.delete(url);
  }
}

/** Index of the step of `steps` (ascending) that is nearest to `step`. */
function nearestIndex(steps, step) {
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

// ---------------------------------------------------------------------------------------------
// Notes and states.

const SAVE_AFTER = 800; // Milliseconds without a key.

/** An editor of a run's note that saves by itself and says whether it has. */
export function noteEditor(name, note, isReadOnly) {
  const status = element("span", { class: "soft", role: "status" });
  const area = element("textarea", {
    rows: "2",
    maxlength: "60000",
    spellcheck: "true",
    readonly: isReadOnly,
    placeholder: isReadOnly ? "No note" : "What this run is about, what you saw …",
    "aria-label": `Note on ${name}`,
  });
  area.value = note;
  let saved = note;
  let timer = 0;
  let isSaving = false;
  const save = async () => {
    clearTimeout(timer);
    const text = area.value;
    if (text === saved || isSaving) return;
    isSaving = true;
    status.textContent = "Saving …";
    try {
      await putNote(name, text);
      saved = text;
      status.textContent = "Saved";
    } catch (error) {
      status.textContent = `Not saved: ${error.message}`;
    }
    isSaving = false;
    status.classList.toggle("problem", saved !== text);
    if (area.value !== text) save();
  };
  area.addEventListener("input", () => {
    status.textContent = "";
    clearTimeout(timer);
    timer = setTimeout(save, SAVE_AFTER);
  });
  area.addEventListener("blur", save);
  addEventListener("pagehide", save);
  // A note that could not be saved is saved when the server is back.
  const unlink = onLink((isUp) => isUp && save());
  return {
    node: element(
      "label",
      { class: "note" },
      element(
        "span",
        { class: "label" },
        element("span", { class: "title", text: "Note" }),
        status,
      ),
      area,
    ),
    /** Takes a note that was changed elsewhere, unless this one is being changed. */
    set(text) {
      if (area.value !== saved || document.activeElement === area) return;
      area.value = saved = text;
    },
    close() {
      save();
      unlink();
      removeEventListener("pagehide", save);
    },
  };
}

/** The state of a run, with a dot that is alive while it runs. */
export function stateBadge(summary) {
  const state = summary.state ?? "imported";
  return element(
    "span",
    { class: `state ${state}` },
    element("span", { class: "dot", "aria-hidden": "true" }),
    state,
  );
}

/** Seconds until a running run ends; undefined if that is unknown. */
function secondsLeft(summary, columns) {
  const { steps, step, batch } = summary;
  const speeds = columns.get("images_per_second");
  if (summary.state !== "running" || !steps || !batch || !speeds) return undefined;
  const recent = [];
  for (let i = columns.length - 1; i >= 0 && recent.length < 50; i--) {
    if (Number.isFinite(speeds[i]) && speeds[i] > 0) recent.push(speeds[i]);
  }
  if (!recent.length) return undefined;
  const done = Math.max(step ?? 0, columns.last("step") ?? 0);
  const speed = recent.sort((a, b) => a - b)[recent.length >> 1];
  return ((steps - done) * batch) / speed;
}

// ---------------------------------------------------------------------------------------------
// The page.

/** A TOML text with its keys and tables told apart. */
function tomlText(text) {
  const code = element("code");
  for (const line of text.trimEnd().split("\n")) {
    const key = /^([\w."-]+)(\s*=.*)$/.exec(line);
    if (line.startsWith("[")) code.append(element("b", { text: line }));
    else if (key) code.append(element("span", { class: "key", text: key[1] }), key[2]);
    else code.append(line);
    code.append("\n");
  }
  return element("pre", { tabindex: "0", "aria-label": "Configuration" }, code);
}

/** A choice of another run, which leads to the comparison with it. */
function compareWith(name) {
  const select = element("select", {
    onchange: () => {
      if (!select.value) return;
      location.hash = `#/compare/${[name, select.value].map(encodeURIComponent).join("/")}`;
    },
  });
  getRuns().then(
    (runs) => {
      const others = runs
        .map((run) => run.name)
        .filter((other) => other !== name)
        .reverse();
      select.append(
        element("option", { value: "", text: others.length ? "Choose a run" : "No other run" }),
        ...others.map((other) => element("option", { value: other, text: other })),
      );
    },
    () => {},
  );
  return element(
    "label",
    { class: "field other" },
    element("span", { text: "Compare with" }),
    select,
  );
}

/** A section that can be closed. */
function fold(title, hint, isOpen, ...children) {
  return element(
    "details",
    { class: "fold", open: isOpen },
    element(
      "summary",
      {},
      element("h2", { text: title }),
      element("span", { class: "soft", text: hint }),
    ),
    ...children,
  );
}

/** Mounts the page of a run. Returns the function that ends it. */
export function mountRun(view, [name], info) {
  const canWrite = !info.read_only;
  const heading = element("h1", { tabindex: "-1", text: name });
  const about = element("p", { class: "about" });
  const badge = element("span");
  const message = element("p", { class: "soft message", role: "status" });
  const explore = element("a", {
    class: "button",
    href: exploreUrl(name),
    target: "_blank",
    rel: "noopener",
    text: "Explore",
    title: "Play with the newest generator, in a new tab",
    hidden: true,
  });
  const act = async (action, asked) => {
    message.textContent = "…";
    try {
      await control(name, action);
      message.textContent = asked;
    } catch (error) {
      message.textContent = error.message;
    }
  };
  const save = element("button", {
    type: "button",
    text: "Save a checkpoint",
    hidden: true,
    onclick: () => act("save", "A checkpoint is saved after this step"),
  });
  const stop = element("button", {
    type: "button",
    text: "Stop after this step",
    hidden: true,
    onclick: () => act("stop", "The run stops and saves after this step"),
  });

  const bar = element("div", { class: "bar-fill" });
  const progress = element(
    "div",
    { class: "progress", role: "progressbar", "aria-label": "Training", "aria-valuemin": "0" },
    bar,
  );
  const facts = element("dl", { class: "facts" });
  const fact = (label) => {
    const value = element("dd", { text: "–" });
    const node = element("div", {}, element("dt", { text: label }), value);
    facts.append(node);
    return { set: (text) => setText(value, text), node };
  };
  const step = fact("Step");
  const time = fact("Time");
  const left = fact("Time left");
  const speed = fact("Images/s");
  const losses = fact("Loss of D / G");
  const outputs = fact("D(x) / D(G(z))");
  const measured = fact("Fréchet distance");
  measured.node.hidden = true;

  const group = new ChartGroup({ onPick: (at) => scrubber.seek(at), announce });
  const charts = element("div", { class: "charts" });
  const waiting = element("p", { class: "soft waiting", text: "Reading the metrics …" });

  let frame = null;
  const scrubber = new Scrubber({
    onStep(at) {
      group.setMarker(at);
      open.href = sampleUrl(name, at);
      return frame.show(at);
    },
    onNear: (at) => preloadGrid(name, at),
  });
  const open = element("a", {
    class: "quiet-link",
    target: "_blank",
    rel: "noopener",
    text: "Open",
  });
  const gridSlot = element("div");
  const real = element("figure", { class: "real", hidden: true });
  const noteSlot = element("div");
  const pictures = element(
    "section",
    { class: "pictures", "aria-label": "Grids" },
    element(
      "div",
      { class: "section-head" },
      element("h2", { text: "Grids of fixed latents" }),
      open,
    ),
    gridSlot,
    scrubber.node,
    noteSlot,
    real,
  );
  scrubber.node.addEventListener("keydown", (event) => {
    if (event.key === " " && event.target === scrubber.range) {
      event.preventDefault();
      scrubber.button.click();
    }
  });

  const alerts = element("section", {
    class: "alerts",
    hidden: true,
    "aria-labelledby": "alerts-title",
  });
  const folds = element("div", { class: "folds" });
  const body = element(
    "div",
    { class: "run", hidden: true },
    pictures,
    element(
      "section",
      { class: "metrics", "aria-label": "Metrics" },
      chartControls(group),
      charts,
      waiting,
      alerts,
    ),
  );
  const problem = element("p", { class: "notice", role: "alert", hidden: true });
  const main = element(
    "main",
    { class: "wide" },
    element(
      "header",
      { class: "masthead" },
      element(
        "div",
        {},
        element("p", { class: "crumbs" }, element("a", { href: "#/", text: "Runs" }), " / ", badge),
        heading,
        about,
      ),
      element(
        "div",
        { class: "actions" },
        element("div", { class: "buttons" }, save, stop, explore),
        message,
      ),
    ),
    problem,
    element("div", { class: "status", hidden: true }, progress, facts),
    body,
    folds,
  );
  view.append(main);

  const feed = new Feed(name, {
    onChange(kind) {
      if (kind === "detail") showDetail();
      if (kind === "rows") scheduleRows();
      if (kind === "read") group.suit(feed.columns.length);
    },
    onError(error) {
      problem.textContent = error.message;
      problem.hidden = false;
    },
  });

  let note = null;
  let shownState;
  function showDetail() {
    const { summary, samples, checkpoints, controls } = feed.detail;
    if (!frame) {
      frame = new GridFrame(name, summary.image);
      gridSlot.append(frame.node);
      note = noteEditor(name, summary.note, !canWrite);
      noteSlot.append(note.node);
      body.hidden = false;
      main.querySelector(".status").hidden = false;
      about.textContent = description(summary);
      showReal();
    }
    note.set(summary.note);
    if (shownState !== summary.state) {
      if (shownState !== undefined) {
        announce(`${name}: ${summary.state}`);
        message.textContent = "";
      }
      shownState = summary.state;
      badge.replaceChildren(stateBadge(summary));
    }
    save.hidden = stop.hidden = !(controls && canWrite && summary.state === "running");
    explore.hidden = !checkpoints.length;
    open.hidden = !samples.length;
    scrubber.setSteps(samples);
    showAlerts();
    showFolds();
    showFacts();
  }

  function showFacts() {
    const { summary } = feed.detail;
    const { columns } = feed;
    // While a long file is read, the newest row is the summary's.
    const isBehind = !(columns.last("step") >= (summary.last?.step ?? 0));
    const last = (key) => (isBehind ? summary.last?.[key] : columns.last(key));
    const done = Math.max(summary.step ?? 0, columns.last("step") ?? 0);
    step.set(summary.steps ? `${count(done)} / ${count(summary.steps)}` : count(done));
    time.set(duration(last("seconds") ?? summary.seconds));
    const eta = secondsLeft(summary, columns);
    left.node.hidden = summary.state !== "running";
    left.set(eta === undefined ? "–" : `≈ ${duration(eta)}`);
    speed.set(count(last("images_per_second")));
    losses.set(`${number(last("d_loss"), 3)} / ${number(last("g_loss"), 3)}`);
    outputs.set(`${probability(last("d_real"))} / ${probability(last("d_fake"))}`);
    const frechet =
      (isBehind ? undefined : columns.last("eval/frechet")) ?? summary.metrics?.frechet;
    measured.node.hidden = frechet === undefined;
    measured.set(number(frechet));
    progress.hidden = !summary.steps;
    const share = summary.steps ? Math.min(1, done / summary.steps) : 0;
    bar.style.width = `${100 * share}%`;
    progress.classList.toggle("running", summary.state === "running");
    progress.setAttribute("aria-valuemax", String(summary.steps ?? 0));
    progress.setAttribute("aria-valuenow", String(done));
  }

  async function showReal() {
    try {
      const image = await preload(realUrl(name));
      image.alt = "Grid of real images";
      image.className = "grid";
      const box = element("div", { class: "frame" }, image);
      box.style.setProperty("--aspect", `${image.naturalWidth} / ${image.naturalHeight}`);
      real.replaceChildren(element("figcaption", {}, element("h2", { text: "Real images" })), box);
      real.hidden = false;
    } catch {
      // The server has none for this run.
    }
  }

  // Rows may come faster than frames.
  let pending = 0;
  function scheduleRows() {
    pending ||= requestAnimationFrame(() => {
      pending = 0;
      showRows();
    });
  }

  const built = new Map();
  function showRows() {
    const { columns } = feed;
    setText(waiting, columns.length ? "" : "No step has been logged yet");
    waiting.hidden = columns.length > 0;
    for (const { title, names, bounds } of columns.length ? chartsOf(columns) : []) {
      const old = built.get(title);
      // A value that first appears later makes its chart again.
      if (old && old.series.length === Object.keys(names).length) continue;
      const colors =
        names.d_loss || names.d_real ? ["--series-2", "--series-1"] : ["--series-1", "--series-2"];
      const chart = new Chart(group, {
        title,
        bounds,
        series: Object.entries(names).map(([key, label], i) => ({
          columns,
          name: key,
          label,
          color: colors[i % 2],
        })),
        alerts: () => feed.detail.alerts,
      });
      if (old) {
        old.node.replaceWith(chart.node);
        group.charts.delete(old);
      } else {
        charts.append(chart.node);
      }
      built.set(title, chart);
    }
    group.draw();
    if (feed.detail) showFacts();
  }

  let shownAlerts;
  function showAlerts() {
    const list = feed.detail.alerts;
    if (shownAlerts === list.length) return;
    const isNew = shownAlerts !== undefined && list.length > shownAlerts;
    shownAlerts = list.length;
    alerts.hidden = !list.length;
    alerts.replaceChildren(
      element("h2", { id: "alerts-title", text: plural(list.length, "alert") }),
      element(
        "ul",
        {},
        ...list.map((alert) =>
          element(
            "li",
            {},
            element("button", {
              type: "button",
              class: "quiet",
              text: `step ${count(alert.step)}`,
              title: "Show this step's grid",
              onclick: () => scrubber.seek(alert.step),
            }),
            element("b", { text: alert.kind }),
            " ",
            element("span", { text: alert.message }),
          ),
        ),
      ),
    );
    if (isNew) announce(`Alert: ${list.at(-1).message}`);
    group.draw();
  }

  let foldsKey;
  let checkpointsNode;
  function showFolds() {
    const { config, layers, checkpoints } = feed.detail;
    if (config !== foldsKey) {
      foldsKey = config;
      checkpointsNode = fold("Checkpoints", "", true);
      folds.replaceChildren(
        checkpointsNode,
        fold(
          "Configuration",
          "config.toml, as resolved",
          false,
          compareWith(name),
          element(
            "div",
            { class: "pre" },
            copyButton(() => config),
            tomlText(config),
          ),
        ),
      );
      if (layers) {
        folds.append(
          fold(
            "Layers",
            "of both networks",
            false,
            element(
              "div",
              { class: "pre" },
              copyButton(() => layers),
              element(
                "pre",
                { tabindex: "0", "aria-label": "Layers" },
                element("code", { text: layers }),
              ),
            ),
          ),
        );
      }
    }
    const key = checkpoints.map((one) => one.step).join();
    if (checkpointsNode.dataset.key === key) return;
    checkpointsNode.dataset.key = key;
    checkpointsNode.querySelector("summary .soft").textContent = plural(checkpoints.length, "file");
    checkpointsNode.querySelector(".checkpoints")?.remove();
    checkpointsNode.append(
      element(
        "ul",
        { class: "checkpoints" },
        ...[...checkpoints].reverse().map((one) => {
          const file = `${name}/checkpoints/step-${String(one.step).padStart(8, "0")}.safetensors`;
          return element(
            "li",
            {},
            element("span", { class: "at", text: `step ${count(one.step)}` }),
            element("span", { class: "soft size", text: bytes(one.bytes) }),
            element("a", {
              class: "button small",
              href: exploreUrl(name, one.step),
              target: "_blank",
              rel: "noopener",
              text: "Explore",
              "aria-label": `Explore the generator of step ${count(one.step)}`,
            }),
            commandLine(`dcgan sample --checkpoint ${quoted(file)} --grid samples.png`),
          );
        }),
        checkpoints.length
          ? element("li", { class: "soft", text: "The commands are for the folder of the runs." })
          : element("li", { class: "soft", text: "No checkpoint yet." }),
      ),
    );
  }

  return () => {
    scrubber.stop();
    cancelAnimationFrame(pending);
    feed.close();
    note?.close();
    group.close();
    view.replaceChildren();
  };
}
