// What is charted of a run's values, and the titles.

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
