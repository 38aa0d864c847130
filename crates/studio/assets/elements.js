// Elements that the views share.

/**
 * An element. `properties`: `class`, `text` (its textContent), `onevent` functions, and attributes
 * (`true` sets an empty one; `false`, null and undefined none). Strings among the children become
 * text: no text from the server is ever parsed as HTML.
 */
export function element(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (key === "class") node.className = value;
    else if (key === "text") node.textContent = value;
    else if (typeof value === "function") node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** Sets the text if it differs, so that selections and screen readers are left alone. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Announces a text to screen readers. */
export const announce = (text) => setText(document.getElementById("live"), text);

/** A button that copies what `text()` returns, and says so. */
export function copyButton(text, label = "Copy") {
  const button = element("button", { type: "button", class: "quiet", text: label });
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text());
      button.textContent = "Copied";
    } catch {
      button.textContent = "Not allowed here";
    }
    announce(button.textContent);
    setTimeout(() => (button.textContent = label), 1500);
  });
  return button;
}

/** A command line with a button that copies it. */
export function commandLine(text) {
  // Breaks between words come first; long names break anywhere.
  const words = text.split(" ").flatMap((word) => [" ", element("span", { text: word })]);
  const code = element("code", {}, ...words.slice(1));
  return element(
    "p",
    { class: "command" },
    code,
    copyButton(() => text),
  );
}

/** A word as one argument of a shell. */
export const quoted = (word) =>
  /^[\w./:@%+,-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;

/** The state of a run, with a dot that is alive while it runs. */
export function stateBadge(summary) {
  const state = summary.state ?? "imported";
  return element(
    "span",
    { class: `state ${state}` },
    element("span", { class: "dot", "aria-hidden": "true" }),
    state,
  );
}
