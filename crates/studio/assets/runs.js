// All runs: a table that sorts and filters, and where runs are chosen to be compared.

import { LostError, compareHash, getRuns, runHash } from "./api.js";
import { announce, copyButton, element, setText, stateBadge } from "./elements.js";
import { count, description, duration, number, plural, probability } from "./texts.js";

const MOST_COMPARED = 4;
const POLL_MILLISECONDS = { live: 2000, quiet: 5000 };

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
