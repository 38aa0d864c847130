// Texts of numbers, and of what a run is.

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
