// Requests to the server, the events of a run, and addresses.

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
export const exploreUrl = (name, step) =>
  `/runs/${encodeURIComponent(name)}/explore${step === undefined ? "" : `?step=${step}`}`;

export const runHash = (name) => `#/run/${encodeURIComponent(name)}`;
export const compareHash = (names) => `#/compare/${names.map(encodeURIComponent).join("/")}`;

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
