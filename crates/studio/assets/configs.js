// The configurations of several runs, line by line.

import { element } from "./elements.js";
import { plural } from "./texts.js";

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
function alignConfigs(texts) {
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
export function configTable(names, texts) {
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
