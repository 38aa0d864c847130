// One run: its progress, grids, charts, note, configuration and checkpoints; live while it trains.

import { control, exploreUrl, sampleUrl } from "./api.js";
import { Chart } from "./chart.js";
import { chartControls } from "./controls.js";
import { announce, element, setText, stateBadge } from "./elements.js";
import { Feed } from "./feed.js";
import { foldsOf } from "./folds.js";
import { GridFrame, Scrubber, preloadGrid } from "./grids.js";
import { ChartGroup } from "./group.js";
import { chartsOf } from "./metrics.js";
import { noteEditor } from "./note.js";
import { count, description, duration, number, plural, probability } from "./texts.js";

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
  const folds = foldsOf(name);
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
    folds.node,
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
    folds.show(feed.detail);
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
      group.place(chart, old, charts);
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

  return () => {
    scrubber.stop();
    cancelAnimationFrame(pending);
    feed.close();
    note?.close();
    group.close();
    view.replaceChildren();
  };
}
