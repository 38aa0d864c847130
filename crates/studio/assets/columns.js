// Rows of metrics by column, and what is kept up as they arrive.

export const BREAK = Infinity; // A value that is not finite (null in a row): the line has a gap.

/** Names of values in rows of earlier versions, and the present ones. */
const RENAMED = {
  g_gradient: "g_grad_norm",
  oscillation: "spectral_peak",
  "eval/memorised": "eval/memorized",
  "eval/memorised_real": "eval/memorized_real",
};

/** The numbers of metric rows, one growing array per name. NaN where a row has no such value. */
export class Columns {
  constructor() {
    this.length = 0;
    this.cut = 0; // How often rows were taken back: what was computed from them is void.
    this.byName = new Map();
    this.capacity = 1024;
    this.add("step");
    this.add("seconds");
  }

  add(name) {
    this.byName.set(name, new Float64Array(this.capacity).fill(NaN));
  }

  get(name) {
    return this.byName.get(name);
  }

  has(name) {
    return this.byName.has(name);
  }

  /** Appends rows. A run that goes back to a checkpoint computes its later rows again. */
  append(rows) {
    for (const row of rows) {
      if (this.length && row.step <= this.get("step")[this.length - 1]) this.truncate(row.step);
      if (this.length === this.capacity) this.grow();
      for (const [key, value] of Object.entries(row)) {
        const name = RENAMED[key] ?? key;
        if (typeof value !== "number" && value !== null) continue;
        if (!this.byName.has(name)) {
          if (value === null) continue;
          this.add(name);
        }
        this.byName.get(name)[this.length] = value ?? BREAK;
      }
      this.length += 1;
    }
  }

  /** Drops the rows of `step` and later ones. */
  truncate(step) {
    const kept = lowerBound(this.get("step"), this.length, step);
    for (const values of this.byName.values()) values.fill(NaN, kept, this.length);
    this.length = kept;
    this.cut += 1;
  }

  grow() {
    this.capacity *= 2;
    for (const [name, values] of this.byName) {
      const larger = new Float64Array(this.capacity).fill(NaN, this.length);
      larger.set(values);
      this.byName.set(name, larger);
    }
  }

  /** The newest finite value of a name. */
  last(name) {
    const values = this.byName.get(name);
    for (let i = this.length - 1; values && i >= 0; i--) {
      if (Number.isFinite(values[i])) return values[i];
    }
    return undefined;
  }
}

/** Index of the first of `length` ascending values that is at least `x`. */
export function lowerBound(values, length, x) {
  let low = 0;
  let high = length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] < x) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * Exponential moving average with the correction for its start (Kingma & Ba 2015, section 3), kept
 * up as rows arrive.
 */
export class Average {
  update(columns, name, weight) {
    const values = columns.get(name);
    if (this.weight !== weight || this.cut !== columns.cut || this.name !== name) {
      Object.assign(this, { weight, name, cut: columns.cut, length: 0, sum: 0, norm: 0 });
    }
    if (!this.values || this.values.length < values.length) {
      const larger = new Float64Array(values.length);
      larger.set(this.values ?? []);
      this.values = larger;
    }
    for (let i = this.length; i < columns.length; i++) {
      const value = values[i];
      if (!Number.isFinite(value)) {
        this.values[i] = value;
        continue;
      }
      this.sum = weight * this.sum + (1 - weight) * value;
      this.norm = weight * this.norm + (1 - weight);
      this.values[i] = this.sum / this.norm;
    }
    this.length = columns.length;
    return this.values;
  }
}

/** How many finite values a column has, and whether all are positive, kept up as rows arrive. */
export class Facts {
  update(columns, name) {
    const values = columns.get(name);
    if (this.cut !== columns.cut) {
      Object.assign(this, { cut: columns.cut, length: 0, values: 0, isPositive: true });
    }
    for (let i = this.length; i < columns.length; i++) {
      if (!Number.isFinite(values[i])) continue;
      this.values += 1;
      if (!(values[i] > 0)) this.isPositive = false;
    }
    this.length = columns.length;
    return this;
  }
}
