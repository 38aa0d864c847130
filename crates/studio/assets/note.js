// The note of a run.

import { onLink, putNote } from "./api.js";
import { element } from "./elements.js";

const SAVE_AFTER = 800; // Milliseconds without a key.

/** An editor of a run's note that saves by itself and says whether it has. */
export function noteEditor(name, note, isReadOnly) {
  const status = element("span", { class: "soft", role: "status" });
  const area = element("textarea", {
    rows: "2",
    maxlength: "60000",
    spellcheck: "true",
    readonly: isReadOnly,
    placeholder: isReadOnly ? "No note" : "What this run is about, what you saw …",
    "aria-label": `Note on ${name}`,
  });
  area.value = note;
  let saved = note;
  let timer = 0;
  let isSaving = false;
  const save = async () => {
    clearTimeout(timer);
    const text = area.value;
    if (text === saved || isSaving) return;
    isSaving = true;
    status.textContent = "Saving …";
    try {
      await putNote(name, text);
      saved = text;
      status.textContent = "Saved";
    } catch (error) {
      status.textContent = `Not saved: ${error.message}`;
    }
    isSaving = false;
    status.classList.toggle("problem", saved !== text);
    if (area.value !== text) save();
  };
  area.addEventListener("input", () => {
    status.textContent = "";
    clearTimeout(timer);
    timer = setTimeout(save, SAVE_AFTER);
  });
  area.addEventListener("blur", save);
  addEventListener("pagehide", save);
  // A note that could not be saved is saved when the server is back.
  const unlink = onLink((isUp) => isUp && save());
  return {
    node: element(
      "label",
      { class: "note" },
      element(
        "span",
        { class: "label" },
        element("span", { class: "title", text: "Note" }),
        status,
      ),
      area,
    ),
    /** Takes a note that was changed elsewhere, unless this one is being changed. */
    set(text) {
      if (area.value !== saved || document.activeElement === area) return;
      area.value = saved = text;
    },
    close() {
      save();
      unlink();
      removeEventListener("pagehide", save);
    },
  };
}
