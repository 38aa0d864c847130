// Two to four runs side by side.

import { runHash } from "./api.js";
import { Chart } from "./chart.js";
import { configTable } from "./configs.js";
import { chartControls } from "./controls.js";
import { announce, element, setText, stateBadge } from "./elements.js";
import { Feed } from "./feed.js";
import { GridFrame, Scrubber, nearestIndex, preloadGrid } from "./grids.js";
import { ChartGroup } from "./group.js";
import { chartsOf, metricTitle } from "./metrics.js";
import { noteEditor } from "./note.js";
import { count, description, number } from "./texts.js";

const COMPARED_TITLES = {
  d_loss: "Loss of D",
  g_loss: "Loss of G",
  d_real: "D(x)",
  d_fake: "D(G(z))",
};

/** Mounts the comparison of runs. Returns the function that ends it. */
export function mountCompare(view, names, info) {
  const group = new ChartGroup({ onPick: (step) => scrubber.seek(step), announce });
  const charts = element("div", { class: "charts" });
  const panels = element("div", { class: "panels" });
  panels.style.setProperty("--panels", String(names.length));
  const configs = element("div");
  const problem = element("p", { class: "notice", role: "alert", hidden: true });

  const runs = names.map((name, i) => {
    const run = { name, color: `--series-${i + 1}`, note: null, frame: null, steps: [] };
    run.state = element("span");
    run.about = element("p", { class: "soft" });
    run.shown = element("p", { class: "soft at" });
    run.metrics = element("p", { class: "soft" });
    run.slot = element("div");
    run.noteSlot = element("div");
    run.panel = element(
      "section",
      { class: "panel", "aria-label": name },
      element(
        "h2",
        {},
        element("span", { class: `swatch run-${i + 1}`, "aria-hidden": "true" }),
        element("a", { href: runHash(name), text: name }),
      ),
      element("p", { class: "line" }, run.state),
      run.about,
      run.slot,
      run.shown,
      run.metrics,
      run.noteSlot,
    );
    panels.append(run.panel);
    run.feed = new Feed(name, {
      onChange(kind) {
        if (kind === "detail") showDetail(run);
        if (kind === "rows") schedule();
        if (kind === "read") group.suit(Math.max(...runs.map((one) => one.feed.columns.length)));
      },
      onError(error) {
        problem.textContent = `${name}: ${error.message}`;
        problem.hidden = false;
      },
      isFollowed: (detail) => detail.summary.state === "running",
    });
    return run;
  });

  const scrubber = new Scrubber({
    onStep(step) {
      group.setMarker(step);
      return Promise.all(
        runs.map((run) => {
          const near = run.steps[nearestIndex(run.steps, step)];
          if (near === undefined || !run.frame) return null;
          setText(run.shown, `step ${count(near)}`);
          run.shown.classList.toggle("away", near !== step);
          return run.frame.show(near);
        }),
      );
    },
    onNear(step) {
      for (const run of runs) {
        const near = run.steps[nearestIndex(run.steps, step)];
        if (near !== undefined) preloadGrid(run.name, near);
      }
    },
  });

  view.append(
    element(
      "main",
      { class: "wide" },
      element(
        "header",
        { class: "masthead" },
        element(
          "div",
          {},
          element(
            "p",
            { class: "crumbs" },
            element("a", { href: "#/", text: "Runs" }),
            " / compare",
          ),
          element("h1", { tabindex: "-1", text: "Side by side" }),
        ),
        scrubber.node,
      ),
      problem,
      panels,
      chartControls(group),
      charts,
      configs,
    ),
  );

  let isCompared = false;
  function showDetail(run) {
    const { summary, samples } = run.feed.detail;
    if (!run.frame) {
      run.frame = new GridFrame(run.name, summary.image);
      run.slot.append(run.frame.node);
      run.note = noteEditor(run.name, summary.note, info.read_only);
      run.noteSlot.append(run.note.node);
      setText(run.about, description(summary));
    }
    run.note.set(summary.note);
    run.state.replaceChildren(stateBadge(summary));
    const measured = Object.entries(summary.metrics ?? {}).filter(
      ([key]) => !key.endsWith("_real"),
    );
    setText(
      run.metrics,
      measured.map(([key, value]) => `${metricTitle(key)} ${number(value)}`).join(" · "),
    );
    if (run.steps.length !== samples.length || !run.frame.wanted) {
      run.steps = samples;
      const all = new Set(runs.flatMap((one) => one.steps));
      const old = scrubber.steps.length;
      scrubber.setSteps([...all].sort((a, b) => a - b));
      // The union may not have grown, but this run has no grid yet.
      if (scrubber.steps.length === old && old) scrubber.show(Number(scrubber.range.value));
    }
    if (!isCompared && runs.every((one) => one.feed.detail)) {
      isCompared = true;
      configs.append(
        configTable(
          names,
          runs.map((one) => one.feed.detail.config),
        ),
      );
    }
  }

  let pending = 0;
  const schedule = () => {
    pending ||= requestAnimationFrame(() => {
      pending = 0;
      showRows();
    });
  };

  const built = new Map();
  function showRows() {
    // A value that some run has, over all runs that have it: a chart each.
    const wanted = new Map();
    for (const run of runs) {
      if (!run.feed.columns.length) continue;
      for (const { title, names: labels, bounds } of chartsOf(run.feed.columns)) {
        const several = Object.keys(labels).length > 1;
        for (const [name, label] of Object.entries(labels)) {
          const own = COMPARED_TITLES[name] ?? (several ? `${title}: ${label}` : title);
          if (!wanted.has(name)) wanted.set(name, { title: own, bounds, runs: [] });
          wanted.get(name).runs.push(run);
        }
      }
    }
    for (const [name, { title, bounds, runs: having }] of wanted) {
      const old = built.get(name);
      if (old && old.series.length === having.length) continue;
      const chart = new Chart(group, {
        title,
        bounds,
        series: having.map((run) => ({
          columns: run.feed.columns,
          name,
          label: run.name,
          color: run.color,
          isNamed: true,
        })),
      });
      group.place(chart, old, charts);
      built.set(name, chart);
    }
    group.draw();
  }

  return () => {
    scrubber.stop();
    cancelAnimationFrame(pending);
    for (const run of runs) {
      run.feed.close();
      run.note?.close();
    }
    group.close();
    view.replaceChildren();
  };
}
