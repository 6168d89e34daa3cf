/** A question before what cannot be undone. */

import { button, h } from "./dom.js";

/** @param {string} question @param {string} words @param {string} yes @returns {Promise<boolean>} */
export function sure(question, words, yes) {
  return new Promise((answer) => {
    const dialog = /** @type {HTMLDialogElement} */ (
      h(
        "dialog",
        { class: "po-ask", "aria-label": question },
        h("h2", {}, question),
        h("p", {}, words),
        h("div", { class: "po-ask-row" }, button("Cancel", null, () => dialog.close("no"), { autofocus: true }), button(yes, null, () => dialog.close("yes"), { class: "po-button po-danger" })),
      )
    );
    dialog.addEventListener("close", () => {
      answer(dialog.returnValue === "yes");
      dialog.remove();
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
