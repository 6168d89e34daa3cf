/** How much of the text encoder's window the prompt takes. */

import { api } from "./api.js";
import { hear } from "./bus.js";
import { h, say } from "./dom.js";

const PAUSE_MS = 250;

/** @param {HTMLElement} tools */
export function tokens(tools) {
  const { tab = "" } = tools.dataset;
  const words = h("span", { class: "po-tokens", "aria-live": "off" });
  tools.prepend(words);
  let timer = 0;
  let asked = "";

  async function count() {
    timer = 0;
    const text = /** @type {HTMLTextAreaElement|null} */ (document.querySelector(`#${tab}-prompt textarea`))?.value ?? "";
    const checkpoint = await current(tab);
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

  /** After a pause in the typing. */
  function soon() {
    clearTimeout(timer);
    timer = window.setTimeout(count, PAUSE_MS);
  }

  const zone = /** @type {HTMLElement} */ (tools.closest(".workplace"));
  zone.addEventListener("input", soon);
  // the checkpoint's list is drawn elsewhere, and the server writes without an event
  hear("form", () => setTimeout(soon, 600));
  soon();
  return { show: () => timer || soon() };
}

/** The id behind the label that the checkpoint list shows. @param {string} tab */
export async function current(tab) {
  const label = /** @type {HTMLInputElement|null} */ (document.querySelector(`#${tab}-checkpoint input`))?.value;
  try {
    const { checkpoints } = await api.choices();
    return checkpoints.find((/** @type {any} */ row) => row.label === label)?.id ?? null;
  } catch {
    return null;
  }
}
