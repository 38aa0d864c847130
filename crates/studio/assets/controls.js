// The controls of a group of charts.

import { element, setText } from "./elements.js";

const SMOOTHING_SCALE = 33; // Up to an average over a thousand rows.

/** The controls of a chart group: smoothing, x axis, range. */
export function chartControls(group) {
  const output = element("output", { text: "" });
  // The slider is finer where an average covers many rows.
  const weightOf = (position) => (position === 0 ? 0 : 1 - 10 ** (-position / SMOOTHING_SCALE));
  const slider = element("input", {
    type: "range",
    min: "0",
    max: "100",
    step: "1",
    value: "16",
    "aria-label": "Smoothing",
  });
  let isOwn = false; // Chosen by the person.
  const smooth = () => {
    const weight = weightOf(Number(slider.value));
    output.textContent = weight === 0 ? "off" : weight.toFixed(weight > 0.985 ? 3 : 2);
    slider.setAttribute("aria-valuetext", output.textContent);
    group.setSmoothing(weight);
  };
  slider.addEventListener("input", () => {
    isOwn = true;
    smooth();
  });
  smooth();
  /** Chooses an average over a hundredth of the rows. */
  group.suit = (rows) => {
    if (isOwn) return;
    slider.value = String(Math.round(SMOOTHING_SCALE * Math.log10(Math.max(2, rows / 100))));
    smooth();
  };
  const reset = element("button", {
    type: "button",
    text: "Reset zoom",
    title: "Show all (double-click on a chart)",
    onclick: () => group.zoom(null),
  });
  reset.disabled = true;
  const range = element("span", { class: "soft range" });
  const onRange = () => {
    reset.disabled = group.range === null;
    setText(
      range,
      group.range
        ? `${group.text(group.range[0])} to ${group.text(group.range[1]).replace("step ", "")}`
        : "",
    );
  };
  group.onRange = onRange;
  onRange();
  const axis = (value, label, isChecked) =>
    element(
      "label",
      { class: "chip" },
      element("input", {
        type: "radio",
        name: "axis",
        value,
        checked: isChecked,
        onchange: () => group.setAxis(value),
      }),
      element("span", { text: label }),
    );
  return element(
    "form",
    { class: "controls", "aria-label": "Charts", onsubmit: (e) => e.preventDefault() },
    element(
      "label",
      { class: "field slider" },
      element("span", { text: "Smoothing" }),
      slider,
      output,
    ),
    element(
      "fieldset",
      { class: "chips" },
      element("legend", { class: "unseen", text: "Horizontal axis" }),
      axis("step", "Steps", true),
      axis("seconds", "Time", false),
    ),
    element("div", { class: "buttons" }, reset, range),
  );
}
