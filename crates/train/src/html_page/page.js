// The page: what is drawn, and how one moves in latent space. It draws nothing itself: painters
// (workers) do.

"use strict";

const byId = (id) => document.getElementById(id);
const textOf = (id) => byId(id).textContent;
const network = JSON.parse(textOf("network"));
const [HEIGHT, WIDTH, CHANNELS] = network.image;
const isNormal = network.distribution === "normal";
const condition = network.condition;
const MAX_SEED = 2n ** 64n;
const TRUNCATION_OFF = 2.05; // The slider's right end.
const MOST_CLASS_ROWS = 20;
const nearStream = 7; // A random stream of the page's own, for images near another.

// ---------------------------------------------------------------------------------------------
// Painters: the engines behind one function.

/** The bytes of an element's base64, after decompression. */
async function unpacked(id) {
  const text = atob(textOf(id).trim());
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

const workerUrl = URL.createObjectURL(
  new Blob([textOf("engine-source"), textOf("worker-source")], { type: "text/javascript" }),
);

/** A worker with the network. */
class Painter {
  static async open(message) {
    const painter = new Painter();
    painter.worker = new Worker(workerUrl);
    painter.sizes = (await painter.ask(message)).sizes;
    return painter;
  }

  ask(message) {
    return new Promise((resolve, reject) => {
      this.worker.onmessage = ({ data }) =>
        data.error ? reject(new Error(data.error)) : resolve(data);
      this.worker.onerror = (event) => reject(new Error(event.message || "the worker failed"));
      this.worker.postMessage(message);
    });
  }

  /** Draws jobs {latent, condition}, as many as one of the painter's sizes. */
  async draw(jobs, count) {
    const rows = (name, width) => {
      const all = new Float32Array(count * width);
      jobs.forEach((job, i) => all.set(job[name], i * width));
      return all;
    };
    const latents = rows("latent", network.latent);
    const conditions = condition ? rows("condition", condition.size) : null;
    const { images } = await this.ask({ latents, conditions, count });
    const size = HEIGHT * WIDTH * CHANNELS;
    return jobs.map((_, i) => images.subarray(i * size, (i + 1) * size));
  }
}

/** All painters, and the images that wait for one. */
const studio = {
  painters: [],
  idle: [],
  queue: [],
  engine: "",
  note: "",
  milliseconds: 0,

  /** The image [H, W, C] in [-1, 1] of a latent and condition; null if the job is cancelled. */
  draw(latent, condition, job = {}) {
    return new Promise((resolve, reject) => {
      Object.assign(job, { latent, condition, resolve, reject });
      this.queue.push(job);
      this.assign();
    });
  },

  assign() {
    while (this.idle.length && this.queue.length) {
      const painter = this.idle.pop();
      const jobs = [];
      const most = Math.max(...painter.sizes);
      while (this.queue.length && jobs.length < most) {
        const job = this.queue.shift();
        if (job.cancelled) job.resolve(null);
        else jobs.push(job);
      }
      if (jobs.length) this.run(painter, jobs);
      else this.idle.push(painter);
    }
  },

  async run(painter, jobs) {
    const count = painter.sizes.find((size) => size >= jobs.length);
    const started = performance.now();
    try {
      const images = await painter.draw(jobs, count);
      const each = (performance.now() - started) / jobs.length;
      this.milliseconds = this.milliseconds ? 0.9 * this.milliseconds + 0.1 * each : each;
      jobs.forEach((job, i) => job.resolve(job.cancelled ? null : images[i]));
      // A painter that was replaced meanwhile ends with this work.
      if (this.painters.includes(painter)) this.idle.push(painter);
      else painter.worker.terminate();
    } catch (error) {
      await this.replaceFailed(error, jobs);
    }
    this.assign();
    describeEngine();
  },

  /** A GPU that fails is replaced by the plain engine. */
  async replaceFailed(error, jobs) {
    if (this.engine !== "WebGPU") {
      jobs.forEach((job) => job.reject(error));
      return showProblem(error);
    }
    this.note = `WebGPU failed: ${error.message}`;
    this.queue.unshift(...jobs);
    this.idle = [];
    await this.openPlain();
  },

  async openPlain() {
    const bytes = await unpacked("weights");
    const cores = navigator.hardwareConcurrency || 2;
    const count = Math.max(1, Math.min(4, cores - 1, Math.floor(3e8 / bytes.length)));
    this.painters = [];
    this.engine = "JavaScript";
    for (let i = 0; i < count; i++) {
      const painter = await Painter.open({ network, bytes });
      this.painters.push(painter);
      this.idle.push(painter);
      this.assign();
    }
  },

  /** WebGPU, if it draws the first image as the plain engine does. */
  async openGpu(software) {
    const recorded = JSON.parse(new TextDecoder().decode(await unpacked("tapes")));
    const message = { network, bytes: await unpacked("weights"), recorded, software };
    const painter = await Painter.open(message);
    const job = { latent: latentOf(network, 0n, 0), condition: conditionOf(0) };
    const [mine] = await painter.draw([job], 1);
    const [many] = await painter.draw([job], 16);
    const wanted = await this.draw(job.latent, job.condition);
    const most = wanted.reduce((most, value, i) => {
      const [one, other] = [Math.abs(value - mine[i]), Math.abs(value - many[i])];
      return one <= most && other <= most ? most : Math.max(one, other) || Infinity;
    }, 0);
    if (!(most <= 1e-3)) throw new Error(`WebGPU draws another image (by ${most.toPrecision(2)})`);
    this.idle.forEach(({ worker }) => worker.terminate());
    [this.painters, this.idle, this.engine, this.milliseconds] = [[painter], [painter], "WebGPU", 0];
    this.assign();
  },

  async open() {
    const wanted = /engine=(\w+)/.exec(location.hash)?.[1];
    await this.openPlain();
    if (wanted === "javascript") return;
    // Until the GPU is ready, the plain engine draws.
    this.gpu = this.openGpu(wanted === "webgpu")
      .catch((error) => (this.note = `Not by WebGPU: ${error.message}`))
      .then(describeEngine);
    if (wanted === "webgpu") await this.gpu;
  },
};

function describeEngine() {
  const workers = studio.painters.length > 1 ? `, ${studio.painters.length} workers` : "";
  const time = studio.milliseconds;
  const speed = time ? ` · ${time < 10 ? time.toFixed(1) : Math.round(time)} ms an image` : "";
  byId("engine").textContent = `Drawn by ${studio.engine}${workers}${speed}`;
  byId("note").textContent = studio.note;
}

function showProblem(error) {
  byId("problem").textContent = `This page cannot draw: ${error.message}`;
  byId("problem").hidden = false;
}

// ---------------------------------------------------------------------------------------------
// Images as points of latent space.

const state = {
  seed: 0n,
  /** The truncation, or null. */
  truncation: null,
  /** The class, or null for all of them, a row each. */
  chosen: 0,
  /** The values of attributes or of a vector. */
  values: new Float32Array(condition ? condition.size : 0),
  /** The image that the grid shows neighbors of, and the number of that request. */
  near: null,
  turn: 0,
  walking: false,
  /** The part of the way to the next seed's images that the walk has gone. */
  progress: 0,
  playing: false,
  selected: null,
};

/** The condition of a class, or the chosen values. */
function conditionOf(index) {
  if (!condition) return null;
  if (condition.kind !== "class") return Float32Array.from(state.values);
  return Float32Array.from({ length: condition.size }, (_, i) => (i === index ? 1 : 0));
}

const className = (index) => condition.names[index] ?? `class ${index}`;

/** Image `index` of a seed, under class `index` of a conditional generator. */
function sampled(seed, index, chosen) {
  const latent = latentOf(network, seed, index);
  const psi = state.truncation;
  const isClass = condition?.kind === "class";
  return {
    latent: psi === null ? latent : truncated(network, latent, psi),
    condition: conditionOf(chosen),
    label: `image ${index} of seed ${seed}${isClass ? `, ${className(chosen)}` : ""}`,
    sample: { seed, index, chosen, truncation: psi, values: state.values.slice() },
  };
}

/** A latent near `item`'s: for normal latents of the same distribution, for uniform ones within. */
function neighbor(item, turn, index) {
  if (index === 0) return item;
  const noise = latentOf(network, BigInt(turn), index, nearStream);
  const [keep, add] = isNormal ? [Math.sqrt(1 - 0.4 ** 2), 0.4] : [1, 0.4];
  const latent = item.latent.map((z, i) => keep * z + add * noise[i]);
  const label = `near ${item.label}`;
  return { latent: isNormal ? latent : latent.map(clampUnit), condition: item.condition, label };
}

const clampUnit = (z) => Math.max(-1, Math.min(1, z));
const lengthOf = (vector) => Math.hypot(...vector);

/** The latent at `t` between two: along the arc for normal latents, along the line for others. */
function between(a, b, t) {
  let [first, second] = [1 - t, t];
  const lengths = lengthOf(a) * lengthOf(b);
  if (isNormal && lengths > 0) {
    const dot = a.reduce((sum, value, i) => sum + value * b[i], 0);
    const angle = Math.acos(clampUnit(dot / lengths));
    if (angle > 1e-3 && angle < Math.PI - 1e-3) {
      [first, second] = [(1 - t) * angle, t * angle].map((x) => Math.sin(x) / Math.sin(angle));
    }
  }
  return a.map((value, i) => first * value + second * b[i]);
}

const blend = (a, b, t) => a && a.map((value, i) => (1 - t) * value + t * b[i]);

function pathItem(a, b, t) {
  return {
    latent: between(a.latent, b.latent, t),
    condition: blend(a.condition, b.condition, t),
    label: `${Math.round(t * 100)} % of the way between two images`,
  };
}

/** A − B + C, scaled to the mean length of its terms: a longer latent is none that G has seen. */
function sumItem(a, b, c) {
  const sum = (name) => a[name] && a[name].map((value, i) => value - b[name][i] + c[name][i]);
  let latent = sum("latent");
  if (isNormal) {
    const mean = (lengthOf(a.latent) + lengthOf(b.latent) + lengthOf(c.latent)) / 3;
    const length = lengthOf(latent);
    if (length > 0) latent = latent.map((z) => (z * mean) / length);
  } else {
    latent = latent.map(clampUnit);
  }
  return { latent, condition: sum("condition"), label: "A − B + C" };
}

// ---------------------------------------------------------------------------------------------
// Canvases.

const byte = (value) => Math.round(Math.fround(Math.fround(value + 1) * 127.5));

/** Pixels as in the program's PNG files. */
function pixelsOf(image) {
  const pixels = new Uint8ClampedArray(HEIGHT * WIDTH * 4).fill(255);
  for (let i = 0; i < HEIGHT * WIDTH; i++) {
    for (let c = 0; c < 4; c++) {
      const source = CHANNELS === 1 ? 0 : c;
      if (c < Math.max(3, CHANNELS)) pixels[i * 4 + c] = byte(image[i * CHANNELS + source]);
    }
  }
  return new ImageData(pixels, WIDTH, HEIGHT);
}

function paint(canvas, image) {
  [canvas.width, canvas.height] = [WIDTH, HEIGHT];
  canvas.getContext("2d").putImageData(pixelsOf(image), 0, 0);
}

/** A canvas that shows an item: the last one asked for. */
class View {
  constructor(element) {
    this.element = element;
    this.canvas = element.matches("canvas") ? element : element.querySelector("canvas");
    [this.canvas.width, this.canvas.height] = [WIDTH, HEIGHT];
    this.item = null;
    this.job = {};
  }

  /** Draws the item; returns when it is shown, or another one was asked for. */
  async show(item) {
    this.item = item;
    this.job.cancelled = true;
    this.job = {};
    const image = await studio.draw(item.latent, item.condition, this.job);
    if (image) paint(this.canvas, image);
  }
}

/** The CRC of PNG chunks. */
function crc32(bytes) {
  let crc = -1;
  for (const value of bytes) {
    crc ^= value;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

/** A PNG with a text after its header, as the program writes: datasets leave drawn images out. */
function withText(png, keyword, text) {
  const chunk = new TextEncoder().encode(`tEXt${keyword}\0${text}`);
  const word = (value) => new Uint8Array([24, 16, 8, 0].map((shift) => value >>> shift));
  const [header, rest] = [png.slice(0, 33), png.slice(33)];
  const parts = [header, word(chunk.length - 4), chunk, word(crc32(chunk)), rest];
  return new Blob(parts, { type: "image/png" });
}

async function pngOf(canvas) {
  const png = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  return withText(png, "Software", network.signature);
}

async function download(canvas, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await pngOf(canvas));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

const fileName = (label) =>
  `${network.name} ${label}`.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "") + ".png";

// ---------------------------------------------------------------------------------------------
// The grid.

let tiles = [];

/** Multiply-adds of an image, but for attention: large networks get a small grid. */
function multiplications() {
  let [height, width, total] = [1, 1, 0];
  for (const { op, weight, shape, stride, pad, output_padding: extra, scale, size } of network.layers) {
    const [kh, kw] = weight?.shape ?? [];
    const along = (axis, length, kernel) =>
      op === "conv"
        ? Math.floor((length + pad[axis][0] + pad[axis][1] - kernel) / stride[axis]) + 1
        : (length - 1) * stride[axis] + extra[axis] + kernel - pad[axis][0] - pad[axis][1];
    const before = height * width;
    if (op === "linear" || op.startsWith("global")) [height, width] = [1, 1];
    if (op === "reshape") [height, width] = shape.length === 3 ? shape : [1, 1];
    if (op.startsWith("conv")) [height, width] = [along(0, height, kh), along(1, width, kw)];
    if (op === "upsample") [height, width] = [height * scale[0], width * scale[1]];
    if (size) [height, width] = [Math.floor(height / size[0]), Math.floor(width / size[1])];
    if (weight) total += sizeOf(weight.shape) * (op === "conv" ? height * width : before);
  }
  return total;
}

/** Rows of the grid: the class of each, and the first index of its latents. */
function layOut() {
  const grid = byId("grid");
  const room = grid.clientWidth || 320;
  const isWide = window.innerWidth >= 980;
  const target = isWide && Math.max(WIDTH, HEIGHT) > 40 ? 100 : 80;
  let scale = Math.max(1, Math.round(target / Math.max(WIDTH, HEIGHT)));
  while (scale > 1 && WIDTH * scale * 3 > room) scale--;
  const side = Math.min(WIDTH * scale, room);
  const columns = Math.max(1, Math.min(16, Math.floor((room + 6) / (side + 6))));
  // What is left of the width goes between the images.
  const gap = columns > 1 ? Math.min(14, Math.floor((room - columns * side) / (columns - 1))) : 6;
  const byClass = condition?.kind === "class" && state.chosen === null && !state.near;
  const affordable = Math.ceil(Math.max(8, 4e9 / multiplications()) / columns);
  const rows = Math.max(2, Math.min(7, Math.floor(560 / (side + 6)), affordable));
  return { side, columns, gap, rows: byClass ? condition.size : rows, byClass };
}

function itemsOf(seed, { columns, rows, byClass }) {
  return Array.from({ length: rows * columns }, (_, i) => {
    if (state.near) return neighbor(state.near, state.turn, i);
    if (byClass) return sampled(seed, i % columns, Math.floor(i / columns));
    return sampled(seed, i, state.chosen);
  });
}

function buildGrid(layout) {
  const { side, columns, gap, rows, byClass } = layout;
  const grid = byId("grid");
  grid.style.setProperty("--tile", `${side}px`);
  grid.style.setProperty("--columns", columns);
  grid.style.setProperty("--gap", `${gap}px`);
  const key = JSON.stringify(layout);
  if (grid.dataset.layout === key) return;
  grid.dataset.layout = key;
  tiles.forEach((tile) => (tile.job.cancelled = true));
  grid.replaceChildren();
  tiles = [];
  for (let i = 0; i < rows * columns; i++) {
    if (byClass && i % columns === 0) {
      const title = document.createElement("h3");
      title.textContent = className(i / columns);
      grid.append(title);
    }
    const button = document.createElement("button");
    Object.assign(button, { type: "button", className: "tile", draggable: true });
    button.tabIndex = i === 0 ? 0 : -1;
    button.setAttribute("aria-pressed", "false");
    button.append(document.createElement("canvas"));
    grid.append(button);
    const tile = new View(button);
    button.addEventListener("click", () => select(tile.item, button));
    button.addEventListener("focus", () => {
      tiles.forEach((other) => (other.element.tabIndex = other === tile ? 0 : -1));
    });
    dragFrom(button, () => tile.item);
    tiles.push(tile);
  }
}

/** Draws the grid of the current state. */
async function refresh() {
  const layout = layOut();
  buildGrid(layout);
  const items = itemsOf(state.seed, layout);
  state.progress = 0;
  describeOrigin(items.length);
  remember();
  mark(null);
  await Promise.all(tiles.map((tile, i) => showTile(tile, items[i])));
}

function showTile(tile, item) {
  tile.element.setAttribute("aria-label", item.label);
  return tile.show(item);
}

function describeOrigin(count) {
  byId("origin").textContent = state.near
    ? `${count} images near ${state.near.label}`
    : `${count} of seed ${state.seed}`;
}

/** The walk: from the images of one seed to those of the next, and on. */
async function walk() {
  const layout = layOut();
  buildGrid(layout);
  state.near = null;
  mark(null);
  describeOrigin(tiles.length);
  let [from, to] = [itemsOf(state.seed, layout), itemsOf(state.seed + 1n, layout)];
  let [started, frame] = [performance.now() - 4000 * state.progress, 0];
  while (state.walking) {
    const begun = performance.now();
    // A segment takes four seconds, or twelve frames where drawing takes longer.
    const segment = Math.max(4000, 12 * frame);
    let t = (begun - started) / segment;
    if (t >= 1) {
      state.seed = (state.seed + 1n) % MAX_SEED;
      byId("seed").value = state.seed;
      describeOrigin(tiles.length);
      [from, to] = [to, itemsOf((state.seed + 1n) % MAX_SEED, layout)];
      [started, t] = [begun, 0];
    }
    state.progress = t;
    const label = `between seeds ${state.seed} and ${state.seed + 1n}`;
    const items = from.map((item, i) =>
      t === 0 ? item : { ...pathItem(item, to[i], t * t * (3 - 2 * t)), label },
    );
    await Promise.all(tiles.map((tile, i) => showTile(tile, items[i])));
    frame = performance.now() - begun;
    await new Promise(requestAnimationFrame);
  }
}

function setWalking(on) {
  if (state.walking === on) return;
  state.walking = on;
  byId("walk").setAttribute("aria-pressed", on);
  byId("walk-label").textContent = on ? "Pause" : "Walk";
  if (on) walk().catch(showProblem);
  else remember();
}

// ---------------------------------------------------------------------------------------------
// The selected image.

const preview = new View(byId("preview"));

function mark(element) {
  tiles.forEach((tile) => tile.element.setAttribute("aria-pressed", tile.element === element));
}

function select(item, element = null) {
  if (!item) return;
  state.selected = item;
  mark(element);
  const caption = item.label[0].toUpperCase() + item.label.slice(1);
  byId("caption").textContent = caption;
  byId("preview").setAttribute("aria-label", caption);
  const command = commandOf(item);
  byId("command").hidden = !command;
  // A line breaks between words alone, not behind their hyphens.
  const words = (command ?? "").split(/ (?=--)/).map((text, i) => {
    const word = document.createElement("span");
    word.textContent = text;
    return i ? [" ", word] : [word];
  });
  byId("command").firstElementChild.replaceChildren(...words.flat());
  preview.show(item).catch(showProblem);
}

/** The command that draws the same image. */
function commandOf({ sample }) {
  if (!sample) return null;
  const quoted = (text) => (/^[\w.=-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
  const words = ["dcgan sample", network.model ? `--model ${network.model}` : "--checkpoint PATH"];
  words.push(`--seed ${sample.seed}`, `--count ${sample.index + 1}`);
  if (condition?.kind === "class") words.push(`--class ${quoted(className(sample.chosen))}`);
  if (condition?.kind === "attributes") {
    sample.values.forEach((value, i) => {
      if (value) words.push(`--attr ${quoted(`${condition.names[i]}=${+value.toFixed(3)}`)}`);
    });
  }
  if (condition?.kind === "vector") return null;
  if (sample.truncation !== null) words.push(`--truncation ${sample.truncation}`);
  return [...words, "--out images"].join(" ");
}

// ---------------------------------------------------------------------------------------------
// Arithmetic and the path.

const slots = Object.fromEntries(
  [...document.querySelectorAll(".slot[data-place]")].map((element) => [
    element.dataset.place,
    new View(element),
  ]),
);
const sum = new View(byId("sum"));
const halfway = new View(byId("between"));

let dragged = null;

function dragFrom(element, item) {
  element.addEventListener("dragstart", (event) => {
    dragged = item();
    event.dataTransfer.setData("text/plain", dragged.label);
    event.dataTransfer.effectAllowed = "copy";
  });
  element.addEventListener("dragend", () => (dragged = null));
}

async function put(place, item) {
  if (!item) return;
  const names = { a: "A", b: "B", c: "C", from: "Start of the path", to: "End of the path" };
  const { element } = slots[place];
  element.setAttribute("aria-label", `${names[place]}: ${item.label}; press to use the selected image`);
  await Promise.all([slots[place].show(item), "abc".includes(place) ? showSum() : showBetween()]);
}

function showSum() {
  const [a, b, c] = ["a", "b", "c"].map((place) => slots[place].item);
  return a && b && c ? sum.show(sumItem(a, b, c)) : null;
}

function showBetween() {
  const [from, to] = [slots.from.item, slots.to.item];
  if (!from || !to) return null;
  const t = Number(byId("position").value);
  byId("between-label").textContent = `${Math.round(t * 100)} %`;
  return halfway.show(pathItem(from, to, t));
}

/** Moves along the path and back, three seconds each way. */
async function play() {
  const position = byId("position");
  const offset = Math.acos(1 - 2 * Number(position.value));
  const started = performance.now();
  while (state.playing) {
    const angle = offset + ((performance.now() - started) / 3000) * Math.PI;
    position.value = (1 - Math.cos(angle)) / 2;
    await showBetween();
    await new Promise(requestAnimationFrame);
  }
}

function setPlaying(on) {
  if (state.playing === on) return;
  state.playing = on;
  byId("play").setAttribute("aria-pressed", on);
  byId("play").setAttribute("aria-label", on ? "Pause the path" : "Play the path");
  if (on) play().catch(showProblem);
}

// ---------------------------------------------------------------------------------------------
// Controls.

/** Keeps seed, class and truncation in the address, so that a link shows the same images. */
function remember() {
  const parts = new URLSearchParams(location.hash.slice(1));
  parts.set("seed", state.seed);
  for (const [name, value] of [
    ["truncation", state.truncation],
    ["class", condition?.kind === "class" ? (state.chosen ?? "all") : null],
  ]) {
    if (value === null) parts.delete(name);
    else parts.set(name, value);
  }
  try {
    history.replaceState(null, "", `#${parts}`);
  } catch {
    // Some browsers forbid it for files; the page works without.
  }
}

function recall() {
  const parts = new URLSearchParams(location.hash.slice(1));
  const seed = parts.get("seed");
  if (seed && /^\d{1,20}$/.test(seed) && BigInt(seed) < MAX_SEED) state.seed = BigInt(seed);
  const truncation = Number(parts.get("truncation"));
  if (truncation > 0 && truncation <= 2) state.truncation = truncation;
  if (condition?.kind === "class") {
    const chosen = parts.get("class");
    const all = condition.size <= MOST_CLASS_ROWS;
    state.chosen = all ? null : 0;
    if (chosen !== null && /^\d+$/.test(chosen) && Number(chosen) < condition.size) {
      state.chosen = Number(chosen);
    }
  }
}

function changed() {
  state.near = null;
  if (state.walking) {
    setWalking(false);
  }
  refresh().catch(showProblem);
}

function setSeed(seed) {
  state.seed = seed;
  byId("seed").value = seed;
  byId("seed-problem").hidden = true;
  changed();
}

function newSeed() {
  const [word] = crypto.getRandomValues(new Uint32Array(1));
  setSeed(BigInt(word % 1000000));
}

function readSeed() {
  const text = byId("seed").value.trim();
  const isSeed = /^\d+$/.test(text) && BigInt(text) < MAX_SEED;
  byId("seed-problem").textContent = isSeed
    ? ""
    : `A seed is a whole number from 0 to ${MAX_SEED - 1n}.`;
  byId("seed-problem").hidden = isSeed;
  byId("seed").setAttribute("aria-invalid", !isSeed);
  if (isSeed && BigInt(text) !== state.seed) setSeed(BigInt(text));
}

function moreLikeThis() {
  if (!state.selected) return;
  setWalking(false);
  [state.near, state.turn] = [state.selected, state.turn + 1];
  refresh().catch(showProblem);
  byId("grid").scrollIntoView({ block: "nearest" });
}

function saveAll() {
  const { columns } = layOut();
  const canvas = document.createElement("canvas");
  const scale = Math.max(1, Math.round(64 / WIDTH));
  const step = [WIDTH * scale + 2, HEIGHT * scale + 2];
  canvas.width = columns * step[0] + 2;
  canvas.height = Math.ceil(tiles.length / columns) * step[1] + 2;
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.fillRect(0, 0, canvas.width, canvas.height);
  tiles.forEach((tile, i) => {
    const [x, y] = [(i % columns) * step[0] + 2, Math.floor(i / columns) * step[1] + 2];
    context.drawImage(tile.canvas, x, y, WIDTH * scale, HEIGHT * scale);
  });
  download(canvas, fileName(byId("origin").textContent));
}

function buildCondition() {
  if (!condition) return;
  const fieldset = byId("condition");
  fieldset.hidden = false;
  const legends = { class: "Class", attributes: "Attributes", vector: "Condition" };
  fieldset.querySelector("legend").textContent = legends[condition.kind];
  if (condition.kind !== "class") {
    fieldset.classList.add("values");
    for (let i = 0; i < condition.size; i++) addValue(fieldset, i);
    return;
  }
  if (condition.size <= MOST_CLASS_ROWS) addChip(fieldset, "All", null);
  for (let i = 0; i < condition.size; i++) addChip(fieldset, className(i), i);
}

function addChip(fieldset, name, value) {
  const label = document.createElement("label");
  label.className = "chip";
  const input = Object.assign(document.createElement("input"), { type: "radio", name: "class" });
  input.checked = state.chosen === value;
  input.addEventListener("change", () => {
    state.chosen = value;
    changed();
  });
  const text = document.createElement("span");
  text.textContent = name;
  label.append(input, text);
  fieldset.append(label);
}

function addValue(fieldset, index) {
  const label = document.createElement("label");
  label.className = "value";
  const text = document.createElement("span");
  text.textContent = condition.names[index] ?? `value ${index}`;
  const isVector = condition.kind === "vector";
  const input = Object.assign(document.createElement("input"), {
    type: "range",
    min: isVector ? -3 : 0,
    max: isVector ? 3 : 1,
    step: 0.05,
    value: 0,
  });
  const output = document.createElement("output");
  output.textContent = "0";
  input.addEventListener("input", () => {
    state.values[index] = Number(input.value);
    output.textContent = input.value;
    changed();
  });
  label.append(text, input, output);
  fieldset.append(label);
}

function showTruncation() {
  const psi = state.truncation;
  byId("truncation").value = psi ?? TRUNCATION_OFF;
  byId("truncation-value").textContent = psi === null ? "off" : psi.toFixed(2);
}

const KEYS = {
  n: newSeed,
  w: () => setWalking(!state.walking),
  p: () => setPlaying(!state.playing),
  m: moreLikeThis,
  s: () => state.selected && download(preview.canvas, fileName(state.selected.label)),
  a: () => put("a", state.selected),
  b: () => put("b", state.selected),
  c: () => put("c", state.selected),
  f: () => put("from", state.selected),
  t: () => put("to", state.selected),
};

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.matches?.("input:not([type=range]):not([type=radio])");
  const tile = tiles.findIndex(({ element }) => element === event.target);
  const { columns } = tile >= 0 ? layOut() : { columns: 1 };
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
  if (tile >= 0 && step !== undefined) {
    event.preventDefault();
    tiles[tile + step]?.element.focus();
    return;
  }
  const action = KEYS[event.key.toLowerCase()];
  if (!action || typing) return;
  // A key acts on the image that has the focus.
  if (tile >= 0 && "mabcfts".includes(event.key)) select(tiles[tile].item, event.target);
  event.preventDefault();
  action();
}

function bind() {
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  byId("new").addEventListener("click", newSeed);
  byId("walk").addEventListener("click", KEYS.w);
  byId("seed").addEventListener("change", readSeed);
  byId("seed").addEventListener("keydown", (event) => event.key === "Enter" && readSeed());
  byId("truncation").addEventListener("input", () => {
    const psi = Number(byId("truncation").value);
    state.truncation = psi > 2 ? null : psi;
    showTruncation();
    changed();
  });
  byId("more").addEventListener("click", moreLikeThis);
  byId("save").addEventListener("click", KEYS.s);
  byId("save-all").addEventListener("click", saveAll);
  byId("play").addEventListener("click", KEYS.p);
  byId("position").addEventListener("input", () => {
    setPlaying(false);
    showBetween()?.catch(showProblem);
  });
  byId("command").lastElementChild.addEventListener("click", async ({ target }) => {
    const code = byId("command").firstElementChild;
    try {
      await navigator.clipboard.writeText(code.textContent);
      target.textContent = "Copied";
      setTimeout(() => (target.textContent = "Copy"), 1200);
    } catch {
      // Without the right to the clipboard, the text is selected for the user to copy.
      getSelection().selectAllChildren(code);
    }
  });
  document.querySelectorAll(".places [data-place]").forEach((button) => {
    button.addEventListener("click", () => put(button.dataset.place, state.selected));
  });
  for (const [place, { element }] of Object.entries(slots)) {
    element.addEventListener("click", () => put(place, state.selected));
    element.addEventListener("dragover", (event) => {
      if (!dragged) return;
      event.preventDefault();
      element.classList.add("over");
    });
    element.addEventListener("dragleave", () => element.classList.remove("over"));
    element.addEventListener("drop", (event) => {
      event.preventDefault();
      element.classList.remove("over");
      put(place, dragged);
    });
  }
  for (const view of [sum, halfway]) {
    view.element.addEventListener("click", () => select(view.item));
    dragFrom(view.element, () => view.item);
  }
  document.addEventListener("keydown", onKey);
  let width = window.innerWidth;
  window.addEventListener("resize", () => {
    // A phone changes the height alone when its address bar goes.
    if (window.innerWidth !== width && !state.walking) refresh().catch(showProblem);
    width = window.innerWidth;
  });
}

function describe() {
  const count = network.layers
    .flatMap((layer) => Object.values(layer))
    .reduce((sum, part) => sum + (typeof part?.at === "number" ? sizeOf(part.shape) : 0), 0);
  byId("name").textContent = network.name;
  const trained = network.dataset ? ` trained on ${network.dataset}` : "";
  byId("about").textContent =
    `A generator${trained}. Its ${count.toLocaleString("en")} weights are in this file; ` +
    `every image is drawn here, from ${network.latent} random numbers.`;
  byId("provenance").textContent =
    `Recipe ${network.recipe}, step ${network.step.toLocaleString("en")}, ` +
    `${WIDTH}×${HEIGHT}${CHANNELS === 1 ? " gray" : ""}; weights ${network.identity} in ` +
    `${network.precision === "f16" ? "half" : "single"} precision; dcgan ${network.version}.`;
  const { style } = document.documentElement;
  style.setProperty("--aspect", `${WIDTH} / ${HEIGHT}`);
  // Few pixels are shown as such; of many, not all would have the same size.
  if (WIDTH > 40) style.setProperty("--rendering", "auto");
}

async function start() {
  describe();
  recall();
  byId("seed").value = state.seed;
  showTruncation();
  buildCondition();
  bind();
  await studio.open();
  describeEngine();
  const drawn = refresh();
  const items = tiles.map(({ item }) => item);
  const { columns, byClass } = layOut();
  const pick = (row, column) => items[byClass ? row * columns + column : row + column];
  select(items[0], tiles[0].element);
  const places = [put("a", pick(0, 0)), put("b", pick(2, 1)), put("c", pick(3, 2))];
  places.push(put("from", pick(1, 1)), put("to", pick(5, 3) ?? pick(1, 2)));
  await Promise.all([drawn, ...places]);
}

/** For scripts and tests: when the first images are shown, and the parts of the page. */
window.dcgan = { ready: start(), network, studio, state, tiles: () => tiles };
window.dcgan.ready.catch(showProblem);
