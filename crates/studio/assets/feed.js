// A run's details and rows, followed while it trains.

import { Follower, LostError, getRun, onLink, readRows } from "./api.js";
import { Columns } from "./columns.js";
import { forgetImages } from "./grids.js";

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
