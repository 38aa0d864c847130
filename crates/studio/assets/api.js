// What the views share: requests to the server, events of a run, elements, and texts of numbers.

// ---------------------------------------------------------------------------------------------
// Requests.

/** An answer of the server that is not a success; `message` is its one line. */
export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** The server does not answer. */
export class LostError extends Error {
  constructor() {
    super("the server does not answer");
  }
}

const linkListeners = new Set();
let isLinkUp = true;
const ASK_AGAIN_MILLISECONDS = 1500;

/** Calls `listener(isUp)` whenever the server is lost or found again. Returns how to end that. */
export function onLink(listener) {
  linkListeners.add(listener);
  return () => linkListeners.delete(listener);
}

function reportLink(isUp) {
  if (isUp === isLinkUp) return;
  isLinkUp = isUp;
  for (const listener of [...linkListeners]) listener(isUp);
  if (!isUp) setTimeout(askAgain, ASK_AGAIN_MILLISECONDS);
}

/** Asks a lost server until it answers. */
async function askAgain() {
  if (isLinkUp) return;
  await getInfo().catch(() => {});
  if (!isLinkUp) setTimeout(askAgain, ASK_AGAIN_MILLISECONDS);
}

const isAbort = (error) => error.name === "AbortError";

/** The error of a connection that failed, unless it was aborted here. */
function lost(error) {
  if (isAbort(error)) return error;
  reportLink(false);
  return new LostError();
}

/** A request. Throws an ApiError for an error of the server and a LostError if it is lost. */
async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    throw lost(error);
  }
  reportLink(true);
  if (response.ok) return response;
  const body = await response.json().catch(() => ({}));
  throw new ApiError(response.status, body.error ?? `the server answered ${response.status}`);
}

const getJson = async (path, signal) => (await request(path, { signal })).json();
const runPath = (name) => `/api/runs/${encodeURIComponent(name)}`;

/** `{version, read_only, model}`. */
export const getInfo = () => getJson("/api/info");

/** All runs, as RunSummary objects. */
export const getRuns = (signal) => getJson("/api/runs", signal);

/** A run: `{summary, config, samples, checkpoints, alerts, layers, controls}`. */
export const getRun = (name, signal) => getJson(runPath(name), signal);

/** Replaces the note of a run, also while the page is being closed. */
export const putNote = (name, text) =>
  request(`${runPath(name)}/note`, {
    method: "PUT",
    body: text,
    keepalive: new Blob([text]).size < 60_000,
  });

/** Asks the process that trains the run to `save` a checkpoint or to `stop`. */
export const control = (name, action) => request(`${runPath(name)}/${action}`, { method: "POST" });

export const sampleUrl = (name, step) => `/runs/${encodeURIComponent(name)}/samples/${step}.png`;
export const realUrl = (name) => `/runs/${encodeURIComponent(name)}/real.png`;
export const exploreUrl = (name, step) =>
  `/runs/${encodeURIComponent(name)}/explore${step === undefined ? "" : `?step=${step}`}`;

const LONGEST_TASK = 20; // Milliseconds.

/** The browser's next task, so that long work does not block input. */
const nextTask = () => new Promise((resolve) => setTimeout(resolve));

/**
 * Reads metrics.jsonl from its start, part by part, and calls `onRows` with rows as they arrive.
 * Returns the byte to continue from.
 */
export async function readRows(name, onRows, signal) {
  let next = 0;
  for (;;) {
    const from = next;
    const response = await request(`${runPath(name)}/metrics?from=${from}`, { signal });
    await readPart(response.body, onRows);
    next = Number(response.headers.get("X-Next"));
    if (next === from) return next;
  }
}

async function readPart(body, onRows) {
  if (!body) return;
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let rested = performance.now();
  for (;;) {
    const { value, done } = await reader.read().catch((error) => Promise.reject(lost(error)));
    const lines = (rest + (value ?? "")).split("\n");
    rest = done ? "" : lines.pop();
    const rows = lines.filter((line) => line.trim()).map(parsedRow);
    if (rows.length) onRows(rows);
    if (done) return;
    if (performance.now() - rested > LONGEST_TASK) {
      await nextTask();
      rested = performance.now();
    }
  }
}

function parsedRow(line) {
  try {
    return JSON.parse(line);
  } catch {
    throw new Error(`metrics.jsonl has a line that is not a row: ${line.slice(0, 80)}`);
  }
}

/**
 * Follows a run by server-sent events from byte `from` of its metrics: calls the functions of
 * `handlers` by the name of the event with its data: `metrics`, `samples`, `checkpoints`, `state`,
 * and `reset` before all rows come again, since the run went back to a checkpoint.
 * `onGone(error)` is called if the run is no longer there.
 * A lost connection is opened again from the last byte. A hidden page, which no one looks at, has
 * no connection: browsers allow six per server.
 */
export class Follower {
  constructor(name, from, handlers, onGone) {
    this.name = name;
    this.next = from;
    this.handlers = handlers;
    this.onGone = onGone;
    this.wait = 0;
    this.onVisibility = () => (document.hidden ? this.disconnect() : this.connect());
    document.addEventListener("visibilitychange", this.onVisibility);
    this.onVisibility();
  }

  connect() {
    this.disconnect();
    const source = new EventSource(`${runPath(this.name)}/events?from=${this.next}`);
    this.source = source;
    source.onopen = () => {
      this.wait = 0;
      reportLink(true);
    };
    source.onerror = () => {
      // The browser would ask again from the first byte.
      this.disconnect();
      this.wait = Math.min(Math.max(2 * this.wait, 500), 8000);
      this.timer = setTimeout(() => this.retry(), this.wait);
    };
    for (const [kind, handler] of Object.entries(this.handlers)) {
      source.addEventListener(kind, (event) => {
        if (kind === "metrics" && event.lastEventId) this.next = Number(event.lastEventId);
        handler(JSON.parse(event.data));
      });
    }
  }

  /** Connects if the server answers; an EventSource does not say why it failed. */
  async retry() {
    try {
      await getRun(this.name);
    } catch (error) {
      if (this.isClosed) return;
      if (error instanceof ApiError && error.status === 404) this.onGone(error);
      else this.timer = setTimeout(() => this.retry(), this.wait);
      return;
    }
    if (!this.isClosed) this.onVisibility();
  }

  disconnect() {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = null;
  }

  close() {
    this.isClosed = true;
    this.disconnect();
    document.removeEventListener("visibilitychange", this.onVisibility);
  }
}

// ---------------------------------------------------------------------------------------------
// Elements.

/**
 * An element. `properties`: `class`, `text` (its textContent), `onevent` functions, and attributes
 * (`true` sets an empty one; `false`, null and undefined none). Strings among the children become
 * text: no text from the server is ever parsed as HTML.
 */
export function element(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (key === "class") node.className = value;
    else if (key === "text") node.textContent = value;
    else if (typeof value === "function") node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** Sets the text if it differs, so that selections and screen readers are left alone. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Announces a text to screen readers. */
export const announce = (text) => setText(document.getElementById("live"), text);

/** A button that copies what `text()` returns, and says so. */
export function copyButton(text, label = "Copy") {
  const button = element("button", { type: "button", class: "quiet", text: label });
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text());
      button.textContent = "Copied";
    } catch {
      button.textContent = "Not allowed here";
    }
    announce(button.textContent);
    setTimeout(() => (button.textContent = label), 1500);
  });
  return button;
}

/** A command line with a button that copies it. */
export function commandLine(text) {
  // Breaks between words come first; long names break anywhere.
  const words = text.split(" ").flatMap((word) => [" ", element("span", { text: word })]);
  const code = element("code", {}, ...words.slice(1));
  return element(
    "p",
    { class: "command" },
    code,
    copyButton(() => text),
  );
}

/** A word as one argument of a shell. */
export const quoted = (word) =>
  /^[\w./:@%+,-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;

// ---------------------------------------------------------------------------------------------
// Texts.

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

/** A count, as `12,000`; a dash without one. */
export const count = (value) => (isNumber(value) ? Math.round(value).toLocaleString("en") : "–");

/** A measured value with about four digits; a dash without one. */
export function number(value, digits = 4) {
  if (!isNumber(value)) return "–";
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size >= 1e6 || size < 1e-4) return value.toExponential(2).replace("e+", "e");
  if (size >= 1000) return count(value);
  const power = Math.floor(Math.log10(size));
  // Of small values two digits that are not zero.
  const places = size < 0.1 ? Math.max(digits - 1, 1 - power) : Math.max(0, digits - 1 - power);
  return value.toFixed(Math.min(places, size < 0.1 ? 6 : digits - 1));
}

/** A probability, as `0.48`; a dash without one. */
export const probability = (value) => (isNumber(value) ? value.toFixed(2) : "–");

/** A time, as `8.4 s`, `3 min 20 s` or `1 h 04 min`; a dash without one. */
export function duration(seconds) {
  if (!isNumber(seconds)) return "–";
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const two = (value) => String(value).padStart(2, "0");
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  const hours = Math.floor(whole / 3600);
  if (hours < 48) return `${hours} h ${two(Math.floor((whole % 3600) / 60))} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** A size, as `1.4 MiB`. */
export function bytes(value) {
  if (!isNumber(value)) return "–";
  if (value < 1024) return `${value} B`;
  const power = Math.min(4, Math.floor(Math.log2(value) / 10));
  return `${(value / 1024 ** power).toFixed(1)} ${["", "KiB", "MiB", "GiB", "TiB"][power]}`;
}

/** A number and its noun, as `1 run` or `3 runs`. */
export const plural = (value, noun) => `${count(value)} ${noun}${value === 1 ? "" : "s"}`;

/** What a run is: its recipe, data and shape of images. */
export function description(summary) {
  const { recipe, data, image, channels, batch, seed } = summary;
  return [
    recipe,
    // Of a path to a dataset, its name.
    data?.replace(/\/+$/, "").split(/[/\\]/).pop(),
    image && `${image[0]}×${image[1]}×${channels}`,
    batch && `batch ${batch}`,
    isNumber(seed) && `seed ${seed}`,
  ]
    .filter(Boolean)
    .join(" · ");
}
