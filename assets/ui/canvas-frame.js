/** What surrounds every canvas: closer and further, a line that says what is so, a question over it. */

import { button, h, icon, say } from "./dom.js";
import { carries } from "./files.js";
import { complain } from "./toasts.js";
import { upload } from "./upload.js";

/**
 * Buttons to step closer and back.
 * @param {ReturnType<typeof import("./canvas-view.js").view>} view
 * @param {...HTMLElement} more
 */
export function lens(view, ...more) {
  const percent = h("output", { class: "po-c-percent", "aria-label": "Zoom" });
  view.onmove(() => say(percent, `${Math.round(100 * view.place.scale)} %`));
  return h(
    "div",
    { class: "po-c-lens" },
    ...more,
    button("Zoom out", "minus", () => view.zoom(1 / 1.5), { quiet: true }),
    percent,
    button("Zoom in", "plus", () => view.zoom(1.5), { quiet: true }),
    button("Fit (0)", "fit", view.fit, { quiet: true }),
  );
}

/** One calm line below the canvas. */
export function line() {
  const words = h("span", { "aria-live": "polite" });
  const size = h("span", { class: "po-c-size" });
  const root = h("p", { class: "po-c-line" }, words, size);
  return {
    root,
    /** @param {string} text @param {""|"bad"} [kind] */
    tell(text, kind = "") {
      root.dataset.kind = kind;
      say(words, text);
    },
    /** @param {string} text */
    measure: (text) => say(size, text),
  };
}

/** A question that has to be answered before anything else is done here. */
export function question(/** @type {HTMLElement} */ stage) {
  /** @type {HTMLElement|null} */
  let asked = null;
  function close() {
    asked?.remove();
    asked = null;
  }
  return {
    get open() {
      return asked !== null;
    },
    close,
    /** @param {string} text @param {[string, () => void][]} answers the first is the plain one */
    ask(text, answers) {
      close();
      const choices = answers.map(([label, act], place) =>
        button(label, null, () => {
          close();
          stage.focus({ preventScroll: true });
          act();
        }, { class: place ? "po-button" : "po-button po-primary" }),
      );
      asked = h("div", { class: "po-c-ask" }, h("div", { role: "alertdialog", "aria-label": text, class: "po-c-card" }, h("p", {}, text), h("div", { class: "po-ask-row" }, ...choices)));
      asked.addEventListener("pointerdown", (event) => event.stopPropagation());
      stage.append(asked);
      stage.scrollIntoView({ block: "nearest" });
    },
  };
}

/** What is seen while there is no picture. @param {string} text */
export function nothing(text) {
  return h("div", { class: "po-c-nothing" }, icon("picture"), h("p", {}, text));
}

/** A picture dropped onto the canvas. @param {HTMLElement} stage @param {(ref: string) => void} take */
export function takesPictures(stage, take) {
  stage.addEventListener("drop", (event) => {
    const file = carries(event.dataTransfer) ? event.dataTransfer?.files[0] : null;
    if (!file) return;
    event.preventDefault();
    upload(file).then(({ ref }) => take(ref), complain);
  });
}

/** Whether keys mean the canvas: it has the focus, or the pointer is over it and nobody is typing. */
export function listens(/** @type {HTMLElement} */ root, /** @type {HTMLElement} */ stage) {
  if (document.querySelector("dialog[open]") || !stage.checkVisibility()) return false;
  const active = document.activeElement;
  if (active && stage.contains(active)) return true;
  const typing = active instanceof HTMLElement && (active.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(active.tagName)) && !root.contains(active);
  return !typing && stage.matches(":hover");
}
