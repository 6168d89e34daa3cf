/** How much of the text encoder's window the prompt takes. */

import { api } from "./api.js";
import { h, say } from "./dom.js";

const PAUSE_MS = 250;

/** @param {HTMLElement} tools @param {string} field selector of the text area */
export function tokens(tools, field) {
  const words = h("span", { class: "po-tokens", "aria-live": "off" });
  tools.prepend(words);
  let timer = 0;
  let asked = "";

  async function count() {
    const text = /** @type {HTMLTextAreaElement|null} */ (document.querySelector(field))?.value ?? "";
    const checkpoint = await current();
    const question = `${checkpoint}\n${text}`;
    if (question === asked) return;
    asked = question;
    try {
      const { used, window, chunks } = await api.tokens(text, checkpoint);
      if (question !== asked) return;
      say(words, `${used} / ${window * Math.max(1, chunks)} tokens`);
      words.title = chunks > 1 ? `The prompt is read in ${chunks} parts of ${window} tokens` : "";
    } catch {
      asked = "";
      say(words, "");
    }
  }

  const soon = () => {
    clearTimeout(timer);
    timer = window.setTimeout(count, PAUSE_MS);
  };
  document.addEventListener("input", soon);
  count();
  return { soon };
}

/** The id behind the label that the checkpoint list shows. */
async function current() {
  const label = /** @type {HTMLInputElement|null} */ (document.querySelector("#checkpoint input"))?.value;
  try {
    const { checkpoints } = await api.choices();
    return checkpoints.find((/** @type {any} */ row) => row.label === label)?.id ?? null;
  } catch {
    return null;
  }
}
