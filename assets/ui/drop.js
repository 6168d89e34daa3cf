/** A picture given to the prompt: its settings go into the form, and what cannot is said. */

import { api } from "./api.js";
import { send } from "./bridge.js";
import { button, h, icon } from "./dom.js";
import { carries, PICTURES } from "./files.js";
import { complain } from "./toasts.js";

/** @param {HTMLElement} tools where the button goes */
export function drop(tools) {
  const { tab = "" } = tools.dataset;
  const report = /** @type {HTMLElement} */ (document.getElementById(`${tab}-recovered`));
  const input = /** @type {HTMLInputElement} */ (h("input", { type: "file", accept: PICTURES.join(","), class: "po-sr", id: `${tab}-settings-file`, tabindex: "-1", "aria-hidden": "true" }));
  input.addEventListener("change", () => {
    if (input.files?.[0]) read(input.files[0], report, tab);
    input.value = "";
  });
  tools.append(
    button("Settings from a picture", "picture", () => input.click(), { class: "po-link", title: "Choose, drop or paste a PNG, JPEG or WebP made by this or another studio" }),
    input,
  );
  report.setAttribute("role", "status");
  const zone = /** @type {HTMLElement} */ (tools.closest(".words"));
  const meant = (/** @type {DragEvent} */ event) => carries(event.dataTransfer) && !/** @type {HTMLElement} */ (event.target).closest(".po-slot");
  let depth = 0;
  const mark = () => zone.classList.toggle("po-over", depth > 0);
  zone.addEventListener("dragenter", (event) => {
    if (meant(event)) (depth += 1), mark();
  });
  zone.addEventListener("dragleave", (event) => {
    if (meant(event)) (depth = Math.max(0, depth - 1)), mark();
  });
  // before Gradio's text box, which would take the file for itself
  zone.addEventListener(
    "drop",
    (event) => {
      depth = 0;
      mark();
      const file = event.dataTransfer?.files[0];
      if (!file || !meant(event)) return;
      event.preventDefault();
      event.stopPropagation();
      read(file, report, tab);
    },
    true,
  );
  zone.addEventListener("paste", (event) => {
    const file = event.clipboardData?.files[0];
    if (!file) return;
    event.preventDefault();
    read(file, report, tab);
  });
}

/** @param {File} file @param {HTMLElement} report @param {string} tab */
async function read(file, report, tab) {
  report.replaceChildren(h("p", { class: "po-notice" }, `Reading ${file.name} …`));
  try {
    const found = await api.settings(file);
    const settings = found.request ?? { ...found.fields, prompt: found.prompt, negative_prompt: found.negative_prompt };
    const answer = await send({ do: "fill", settings, tab });
    if (!answer) return report.replaceChildren();
    tellOutcome(report, found.source, answer.filled, [...found.notes, ...answer.notes]);
  } catch (error) {
    const { message, hint } = /** @type {any} */ (error);
    if (!hint) return report.replaceChildren(), complain(error);
    notice(report, "bad", h("b", {}, message), h("p", {}, hint));
  }
}

/** @param {HTMLElement} report @param {string} source @param {string[]} filled @param {string[]} lost */
function tellOutcome(report, source, filled, lost) {
  const unique = [...new Set(lost)];
  notice(
    report,
    unique.length ? "partly" : "good",
    h("b", {}, `Settings of a picture by ${source}`),
    h("p", {}, filled.length ? `In the form: ${filled.join(", ").toLowerCase()}.` : "Nothing of them is for this form."),
    unique.length ? h("p", {}, "Not taken over:") : "",
    unique.length ? h("ul", {}, ...unique.map((note) => h("li", {}, note))) : "",
  );
}

/** @param {HTMLElement} report @param {string} kind @param {...(Node|string)} words */
function notice(report, kind, ...words) {
  report.replaceChildren(
    h(
      "div",
      { class: "po-notice", "data-kind": kind },
      icon(kind === "good" ? "check" : "info"),
      h("div", { class: "po-notice-words" }, ...words),
      button("Dismiss", "close", () => report.replaceChildren(), { quiet: true }),
    ),
  );
}
