// All runs: a table that sorts and filters, and two to four of them side by side.

import {
  LostError,
  announce,
  copyButton,
  count,
  description,
  duration,
  element,
  getRuns,
  number,
  plural,
  probability,
  setText,
} from "./api.js";
import { Chart, ChartGroup } from "./chart.js";
import {
  Feed,
  GridFrame,
  Scrubber,
  chartControls,
  chartsOf,
  metricTitle,
  noteEditor,
  preloadGrid,
  stateBadge,
} from "./run.js";

const MOST_COMPARED = 4;
const POLL_MILLISECONDS = { live: 2000, quiet: 5000 };

const runHash = (name) => `#/run/${encodeURIComponent(name)}`;
const compareHash = (names) => `#/compare/${names.map(encodeURIComponent).join("/")}`;

// ---------------------------------------------------------------------------------------------
// The table.

const byText = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

/** The columns: how a run is sorted and shown in each. Text ascends first, numbers descend. */
const COLUMNS = [
  { key: "name", label: "Run", value: (run) => run.name },
  { key: "state", label: "State", value: (run) => run.state ?? "imported" },
  { key: "step", label: "Step", value: (run) => run.step },
  { key: "time", label: "Time", value: (run) => run.seconds, show: duration },
  { key: "d_loss", label: "D loss", value: (run) => run.last?.d_loss, show: three },
  { key: "g_loss", label: "G loss", value: (run) => run.last?.g_loss, show: three },
  { key: "d_real", label: "D(x)", value: (run) => run.last?.d_real, show: probability },
  { key: "d_fake", label: "D(G(z))", value: (run) => run.last?.d_fake, show: probability },
  {
    key: "frechet",
    label: "Fréchet",
    value: (run) => run.metrics?.frechet,
    show: number,
    title: "Fréchet distance, the newest measured; lower is better",
  },
  { key: "alerts", label: "Alerts", value: (run) => run.alerts || undefined, show: count },
];

function three(value) {
  return number(value, 3);
}

// What was chosen, kept while one looks at a run and comes back.
const chosen = { sort: "name", isDescending: true, filter: "", names: new Set() };

/** The order of two runs. What has no value comes last, whatever the direction. */
function order(a, b) {
  const { value } = COLUMNS.find((column) => column.key === chosen.sort);
  const [x, y] = [value(a), value(b)];
  const isMissing = (one) => one === undefined || one === null;
  if (isMissing(x) || isMissing(y)) {
    return isMissing(x) - isMissing(y) || byText.compare(b.name, a.name);
  }
  const ascending = typeof x === "string" ? byText.compare(x, y) : x - y;
  return (chosen.isDescending ? -ascending : ascending) || byText.compare(b.name, a.name);
}

function isMatch(run) {
  const text = [run.name, run.state, run.recipe, run.data, run.note].join(" ").toLowerCase();
  return chosen.filter
    .toLowerCase()
    .split(/\s+/)
    .every((word) => text.includes(word));
}

/** A row of the table; it is kept and updated, so that images and focus stay. */
class Row {
  constructor(name, onSelect) {
    this.name = name;
    this.box = element("input", {
      type: "checkbox",
      "aria-label": `Compare ${name}`,
      onchange: () => onSelect(this),
    });
    this.image = element("img", { alt: "", hidden: true, loading: "lazy" });
    this.about = element("span", { class: "soft about" });
    this.note = element("span", { class: "note-line" });
    this.bar = element("span", { class: "bar-fill" });
    this.progress = element("span", { class: "progress small" }, this.bar);
    this.cells = new Map(
      COLUMNS.map(({ key, label }) => [
        key,
        element("td", {
          role: "cell",
          class: `c-${key}`,
          "data-label": label,
        }),
      ]),
    );
    this.cells
      .get("name")
      .append(
        element("a", { href: runHash(name), class: "name", text: name }),
        this.about,
        this.note,
      );
    this.stepText = element("span");
    this.cells.get("step").append(this.stepText, this.progress);
    this.node = element(
      "tr",
      { role: "row" },
      element("td", { role: "cell", class: "c-select" }, element("label", {}, this.box)),
      element(
        "td",
        { role: "cell", class: "c-thumb" },
        element("span", { class: "thumb" }, this.image),
      ),
      ...this.cells.values(),
    );
  }

  update(run) {
    this.run = run;
    if (run.thumbnail) {
      if (this.image.getAttribute("src") !== run.thumbnail) this.image.src = run.thumbnail;
      this.image.hidden = false;
    }
    setText(this.about, description({ ...run, batch: undefined, seed: undefined }));
    setText(this.note, run.note.trim().split("\n")[0]);
    this.note.hidden = !run.note.trim();
    if (this.state !== run.state || !this.cells.get("state").firstChild) {
      this.state = run.state;
      this.cells.get("state").replaceChildren(stateBadge(run));
    }
    setText(
      this.stepText,
      run.steps ? `${count(run.step ?? 0)} / ${count(run.steps)}` : count(run.step),
    );
    this.progress.hidden = !run.steps;
    this.progress.classList.toggle("running", run.state === "running");
    this.bar.style.width = `${run.steps ? Math.min(100, (100 * (run.step ?? 0)) / run.steps) : 0}%`;
    for (const { key, value, show } of COLUMNS) {
      if (show) setText(this.cells.get(key), show(value(run)));
    }
    this.cells.get("alerts").classList.toggle("some", run.alerts > 0);
    this.cells.get("frechet").classList.toggle("some", run.metrics?.frechet !== undefined);
  }
}

/** Mounts the list of runs. Returns the function that ends it. */
export function mountRuns(view) {
  const summary = element("p", { class: "about", text: "Reading the runs …" });
  const filter = element("input", {
    type: "search",
    placeholder: "Name, recipe, data, note",
    "aria-label": "Filter runs",
    autocomplete: "off",
    spellcheck: "false",
    oninput: () => {
      chosen.filter = filter.value.trim();
      render();
    },
  });
  filter.value = chosen.filter;
  const headers = new Map();
  const sortBy = (key, isDescending) => {
    Object.assign(chosen, { sort: key, isDescending });
    render();
    const { label } = COLUMNS.find((column) => column.key === key);
    announce(`Sorted by ${label}, ${isDescending ? "descending" : "ascending"}`);
  };
  const isTextColumn = (key) => key === "name" || key === "state";
  for (const { key, label, title } of COLUMNS) {
    headers.set(
      key,
      element(
        "th",
        { role: "columnheader", scope: "col", class: `c-${key}` },
        element("button", {
          type: "button",
          class: "sort",
          text: label,
          title,
          onclick: () =>
            sortBy(key, chosen.sort === key ? !chosen.isDescending : !isTextColumn(key)),
        }),
      ),
    );
  }
  const select = element(
    "select",
    { "aria-label": "Sort by", onchange: () => sortBy(select.value, !isTextColumn(select.value)) },
    ...COLUMNS.map(({ key, label }) => element("option", { value: key, text: label })),
  );
  const direction = element("button", {
    type: "button",
    class: "direction",
    onclick: () => sortBy(chosen.sort, !chosen.isDescending),
  });
  const rowsBody = element("tbody", { role: "rowgroup" });
  const table = element(
    "table",
    { class: "runs", role: "table", "aria-label": "Runs", hidden: true },
    element(
      "thead",
      { role: "rowgroup" },
      element(
        "tr",
        { role: "row" },
        element(
          "th",
          { role: "columnheader", class: "c-select" },
          element("span", { class: "unseen", text: "Compare" }),
        ),
        element(
          "th",
          { role: "columnheader", class: "c-thumb" },
          element("span", { class: "unseen", text: "Newest grid" }),
        ),
        ...headers.values(),
      ),
    ),
    rowsBody,
  );
  const empty = element("div", { class: "empty", hidden: true });
  const problem = element("p", { class: "notice", role: "alert", hidden: true });

  const chosenText = element("p", {});
  const compare = element("a", { class: "button primary", text: "Compare" });
  const tray = element(
    "div",
    { class: "tray", role: "region", "aria-label": "Runs to compare", hidden: true },
    chosenText,
    element(
      "div",
      { class: "buttons" },
      element("button", {
        type: "button",
        class: "quiet",
        text: "Clear",
        onclick: () => {
          chosen.names.clear();
          render();
        },
      }),
      compare,
    ),
  );

  view.append(
    element(
      "main",
      {},
      element(
        "header",
        { class: "masthead" },
        element("div", {}, element("h1", { tabindex: "-1", text: "Runs" }), summary),
        element(
          "form",
          { class: "find", role: "search", onsubmit: (event) => event.preventDefault() },
          filter,
          element("span", { class: "sorting" }, select, direction),
        ),
      ),
      problem,
      table,
      empty,
      tray,
    ),
  );

  const rows = new Map();
  let runs = null;

  function render() {
    if (!runs) return;
    for (const { name } of runs) {
      if (!rows.has(name)) rows.set(name, new Row(name, onSelect));
    }
    for (const run of runs) rows.get(run.name).update(run);
    const shown = runs
      .filter(isMatch)
      .sort(order)
      .map((run) => rows.get(run.name).node);
    const isSame =
      shown.length === rowsBody.children.length &&
      shown.every((node, i) => node === rowsBody.children[i]);
    if (!isSame) {
      const focused = rowsBody.contains(document.activeElement) && document.activeElement;
      rowsBody.replaceChildren(...shown);
      if (focused) focused.focus({ preventScroll: true });
    }
    for (const [key, header] of headers) {
      const isSorted = key === chosen.sort;
      if (isSorted)
        header.setAttribute("aria-sort", chosen.isDescending ? "descending" : "ascending");
      else header.removeAttribute("aria-sort");
    }
    select.value = chosen.sort;
    direction.textContent = chosen.isDescending ? "↓" : "↑";
    direction.setAttribute(
      "aria-label",
      chosen.isDescending ? "Descending; press for ascending" : "Ascending; press for descending",
    );
    const running = runs.filter((run) => run.state === "running").length;
    setText(
      summary,
      [
        plural(runs.length, "run"),
        running ? `${count(running)} running` : "",
        chosen.filter ? `${count(shown.length)} shown` : "",
      ]
        .filter(Boolean)
        .join(" · "),
    );
    table.hidden = !shown.length;
    empty.hidden = shown.length > 0;
    if (!shown.length) {
      empty.replaceChildren(
        ...(runs.length
          ? [element("p", { text: `No run matches “${chosen.filter}”.` })]
          : [
              element("p", { text: "There are no runs yet. This begins one:" }),
              element(
                "p",
                { class: "command" },
                element("code", { text: "dcgan train" }),
                copyButton(() => "dcgan train"),
              ),
            ]),
      );
    }
    renderTray();
  }

  function renderTray() {
    const names = runs.map((run) => run.name);
    chosen.names = new Set([...chosen.names].filter((name) => names.includes(name)));
    const isFull = chosen.names.size >= MOST_COMPARED;
    for (const [name, row] of rows) {
      row.box.checked = chosen.names.has(name);
      row.box.disabled = isFull && !row.box.checked;
      row.node.classList.toggle("chosen", row.box.checked);
    }
    const picked = [...chosen.names];
    tray.hidden = !picked.length;
    chosenText.textContent =
      picked.length === 1
        ? `${picked[0]}: choose one to three more to compare`
        : `${picked.join(", ")}${isFull ? " (four at most)" : ""}`;
    const canCompare = picked.length >= 2;
    if (canCompare) compare.href = compareHash(picked);
    else compare.removeAttribute("href");
    compare.setAttribute("aria-disabled", String(!canCompare));
  }

  function onSelect(row) {
    if (row.box.checked) chosen.names.add(row.name);
    else chosen.names.delete(row.name);
    renderTray();
  }

  const abort = new AbortController();
  let timer = 0;
  async function poll() {
    clearTimeout(timer);
    try {
      runs = await getRuns(abort.signal);
      problem.hidden = true;
      render();
    } catch (error) {
      if (abort.signal.aborted) return;
      // A lost server is told above the view.
      problem.hidden = error instanceof LostError;
      problem.textContent = error.message;
    }
    if (abort.signal.aborted || document.hidden) return;
    const isLive = runs?.some((run) => run.state === "running");
    timer = setTimeout(poll, isLive ? POLL_MILLISECONDS.live : POLL_MILLISECONDS.quiet);
  }
  const onVisibility = () => (document.hidden ? clearTimeout(timer) : poll());
  document.addEventListener("visibilitychange", onVisibility);
  poll();

  return () => {
    abort.abort();
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", onVisibility);
    view.replaceChildren();
  };
}

// ---------------------------------------------------------------------------------------------
// Configurations, line by line.

/** The lines of a TOML text by what they set: `{id, line}`, the id with its table. */
function configLines(text) {
  const lines = [];
  const uses = new Map();
  let table = "";
  for (const line of text.trimEnd().split("\n")) {
    if (!line.trim()) continue;
    const isTable = line.startsWith("[");
    if (isTable) table = line;
    const key = /^([^\s=#]+)\s*=/.exec(line);
    const id = isTable ? table : `${table} ${key ? key[1] : line}`;
    // Tables of an array have one name, so they are counted.
    const use = (uses.get(id) ?? 0) + 1;
    uses.set(id, use);
    lines.push({ id: `${id} ${use}`, line, isTable });
  }
  return lines;
}

/**
 * The lines of several TOML texts side by side: rows of one line per text, null where it has none.
 * A row is `{cells, isTable, isEqual}`.
 */
export function alignConfigs(texts) {
  const ids = [];
  const byId = new Map();
  texts.forEach((text, column) => {
    let place = 0;
    for (const { id, line, isTable } of configLines(text)) {
      const known = byId.get(id);
      if (known) {
        known.cells[column] = line;
        place = ids.indexOf(id) + 1;
      } else {
        const cells = texts.map(() => null);
        cells[column] = line;
        byId.set(id, { cells, isTable });
        // Beside the line that it follows.
        ids.splice(place, 0, id);
        place += 1;
      }
    }
  });
  return ids.map((id) => {
    const row = byId.get(id);
    return { ...row, isEqual: row.cells.every((cell) => cell === row.cells[0]) };
  });
}

/** The table of configurations, with what differs marked. */
function configTable(names, texts) {
  const rows = alignConfigs(texts);
  const differing = rows.filter((row) => !row.isEqual && !row.isTable).length;
  const body = element("tbody");
  let heading = null;
  for (const { cells, isTable, isEqual } of rows) {
    const row = element(
      "tr",
      { class: isTable ? "table" : isEqual ? "equal" : "differs" },
      ...cells.map((cell, i) =>
        element(
          "td",
          { class: cell === null ? "none" : null },
          element("span", { class: `swatch run-${i + 1}`, "aria-hidden": "true" }),
          cell === null
            ? element("span", { class: "unset", text: "not set" })
            : element("code", { text: cell }),
        ),
      ),
    );
    body.append(row);
    if (isTable) heading = row;
    else if (!isEqual) heading?.classList.add("has-difference");
  }
  const table = element(
    "table",
    { class: "diff only" },
    element(
      "thead",
      {},
      element(
        "tr",
        {},
        ...names.map((name, i) =>
          element(
            "th",
            { scope: "col" },
            element("span", { class: `swatch run-${i + 1}`, "aria-hidden": "true" }),
            name,
          ),
        ),
      ),
    ),
    body,
  );
  const all = element("input", {
    type: "checkbox",
    onchange: () => table.classList.toggle("only", !all.checked),
  });
  return element(
    "section",
    { class: "configs", "aria-label": "Configurations" },
    element(
      "div",
      { class: "section-head" },
      element("h2", { text: "Configuration" }),
      element("p", {
        text: differing
          ? `${plural(differing, "line")} differ${differing === 1 ? "s" : ""}`
          : "no line differs",
      }),
      element("label", { class: "chip" }, all, element("span", { text: "All lines" })),
    ),
    element(
      "div",
      {
        class: "scroll",
        tabindex: "0",
        role: "group",
        "aria-label": "Configurations side by side",
      },
      table,
    ),
  );
}

// ---------------------------------------------------------------------------------------------
// The comparison.

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
          const near = nearest(run.steps, step);
          if (near === undefined || !run.frame) return null;
          setText(run.shown, `step ${count(near)}`);
          run.shown.classList.toggle("away", near !== step);
          return run.frame.show(near);
        }),
      );
    },
    onNear(step) {
      for (const run of runs) {
        const near = nearest(run.steps, step);
        if (near !== undefined) preloadGrid(run.name, near);
      }
    },
  });
  const nearest = (steps, step) =>
    steps.reduce(
      (best, other) =>
        best === undefined || Math.abs(other - step) < Math.abs(best - step) ? other : best,
      undefined,
    );

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
      if (old) {
        old.node.replaceWith(chart.node);
        group.charts.delete(old);
      } else {
        charts.append(chart.node);
      }
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

const COMPARED_TITLES = {
  d_loss: "Loss of D",
  g_loss: "Loss of G",
  d_real: "D(x)",
  d_fake: "D(G(z))",
};
