// The sections of a run that can be closed: checkpoints, configuration, layers.

import { compareHash, exploreUrl, getRuns } from "./api.js";
import { commandLine, copyButton, element, quoted } from "./elements.js";
import { bytes, count, plural } from "./texts.js";

/** A TOML text with its keys and tables told apart. */
function tomlText(text) {
  const code = element("code");
  for (const line of text.trimEnd().split("\n")) {
    const key = /^([\w."-]+)(\s*=.*)$/.exec(line);
    if (line.startsWith("[")) code.append(element("b", { text: line }));
    else if (key) code.append(element("span", { class: "key", text: key[1] }), key[2]);
    else code.append(line);
    code.append("\n");
  }
  return element("pre", { tabindex: "0", "aria-label": "Configuration" }, code);
}

/** A choice of another run, which leads to the comparison with it. */
function compareWith(name) {
  const select = element("select", {
    onchange: () => {
      if (!select.value) return;
      location.hash = compareHash([name, select.value]);
    },
  });
  getRuns().then(
    (runs) => {
      const others = runs
        .map((run) => run.name)
        .filter((other) => other !== name)
        .reverse();
      select.append(
        element("option", { value: "", text: others.length ? "Choose a run" : "No other run" }),
        ...others.map((other) => element("option", { value: other, text: other })),
      );
    },
    () => {},
  );
  return element(
    "label",
    { class: "field other" },
    element("span", { text: "Compare with" }),
    select,
  );
}

/** A section that can be closed. */
function fold(title, hint, isOpen, ...children) {
  return element(
    "details",
    { class: "fold", open: isOpen },
    element(
      "summary",
      {},
      element("h2", { text: title }),
      element("span", { class: "soft", text: hint }),
    ),
    ...children,
  );
}

/** The sections of a run below its charts: `node`, and `show(detail)` for what they show. */
export function foldsOf(name) {
  const node = element("div", { class: "folds" });
  let foldsKey;
  let checkpointsNode;

  function show({ config, layers, checkpoints }) {
    if (config !== foldsKey) {
      foldsKey = config;
      checkpointsNode = fold("Checkpoints", "", true);
      node.replaceChildren(
        checkpointsNode,
        fold(
          "Configuration",
          "config.toml, as resolved",
          false,
          compareWith(name),
          element(
            "div",
            { class: "pre" },
            copyButton(() => config),
            tomlText(config),
          ),
        ),
      );
      if (layers) {
        node.append(
          fold(
            "Layers",
            "of both networks",
            false,
            element(
              "div",
              { class: "pre" },
              copyButton(() => layers),
              element(
                "pre",
                { tabindex: "0", "aria-label": "Layers" },
                element("code", { text: layers }),
              ),
            ),
          ),
        );
      }
    }
    const key = checkpoints.map((one) => one.step).join();
    if (checkpointsNode.dataset.key === key) return;
    checkpointsNode.dataset.key = key;
    checkpointsNode.querySelector("summary .soft").textContent = plural(checkpoints.length, "file");
    checkpointsNode.querySelector(".checkpoints")?.remove();
    checkpointsNode.append(
      element(
        "ul",
        { class: "checkpoints" },
        ...[...checkpoints].reverse().map((one) => {
          const file = `${name}/checkpoints/step-${String(one.step).padStart(8, "0")}.safetensors`;
          return element(
            "li",
            {},
            element("span", { class: "at", text: `step ${count(one.step)}` }),
            element("span", { class: "soft size", text: bytes(one.bytes) }),
            element("a", {
              class: "button small",
              href: exploreUrl(name, one.step),
              target: "_blank",
              rel: "noopener",
              text: "Explore",
              "aria-label": `Explore the generator of step ${count(one.step)}`,
            }),
            commandLine(`dcgan sample --checkpoint ${quoted(file)} --grid samples.png`),
          );
        }),
        checkpoints.length
          ? element("li", { class: "soft", text: "The commands are for the folder of the runs." })
          : element("li", { class: "soft", text: "No checkpoint yet." }),
      ),
    );
  }

  return { node, show };
}
