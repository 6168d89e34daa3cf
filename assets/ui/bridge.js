/** How a picture's settings get into the form, which is Gradio's: a hidden text box and a button. */

import { api, ApiError } from "./api.js";
import { tell } from "./bus.js";
import { h } from "./dom.js";
import { restored } from "./forms.js";
import { tabs } from "./tabs.js";
import { complain, toast } from "./toasts.js";

/**
 * @typedef {{filled: string[], notes: string[], undo: (() => void)|null}} Answer
 *   what is in the form now, and what is not, in words; and what brings back what was in it before, if that is known
 */

/** A message that is not answered for so long is taken for lost. */
const PATIENCE_MS = 30_000;
let number = 0;
/** @type {Map<number, (answer: any) => void>} who waits for what became of a message, by its number */
const waiting = new Map();
/** When the message before is answered: they share one text box. @type {Promise<any>} */
let before = Promise.resolve();

document.addEventListener("pochade-sent", (event) => {
  const { detail } = /** @type {CustomEvent} */ (event);
  waiting.get(detail.number)?.(detail.filled ? detail : null);
});

/**
 * @param {{tab: string} & Record<string, any>} message see `understood` in studio/ui/shell.py
 * @returns {Promise<Answer|null>} null if it was refused or is lost, which the person has been told
 */
export async function send(message) {
  await restored(message.tab);
  const sent = before.then(() => deliver(message));
  before = sent.catch(() => {});
  return sent;
}

/** @param {{tab: string} & Record<string, any>} message @returns {Promise<Answer|null>} */
async function deliver(message) {
  const values = await api.draft(message.tab).catch(() => null);
  const box = /** @type {HTMLTextAreaElement} */ (document.querySelector("#bridge-message textarea"));
  const button = /** @type {HTMLElement} */ (document.querySelector("#bridge-send"));
  const set = Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, "value")?.set;
  const answered = answerTo(++number);
  set?.call(box, JSON.stringify({ ...message, number }));
  box.dispatchEvent(new Event("input", { bubbles: true }));
  // Gradio takes the text over in its next tick
  setTimeout(() => button.click(), 30);
  tell("form");
  const answer = await answered;
  return answer && { ...answer, undo: values && (() => send({ do: "put", tab: message.tab, values })) };
}

/** @param {number} number @returns {Promise<any>} */
function answerTo(number) {
  return new Promise((answer) => {
    const lost = setTimeout(() => {
      complain(new ApiError(0, "The studio does not answer.", "See whether it is still running, and try again."));
      done(null);
    }, PATIENCE_MS);
    const done = (/** @type {any} */ found) => {
      clearTimeout(lost);
      waiting.delete(number);
      answer(found);
    };
    waiting.set(number, done);
  });
}

/** Says what became of a message. @param {Answer|null} answer */
export function tellAnswer(answer) {
  if (!answer) return;
  // a picture alone is in view, and leaves what was there as it is
  if (answer.filled.length > 1) toast("The settings are in the form.", answer.undo ? { label: "Undo", run: answer.undo } : undefined);
  for (const note of answer.notes) toast(note);
}

/** A menu of the tabs that can start from a picture; null while there is none. */
export function sendMenu(/** @type {() => string} */ imageId, /** @type {() => void} */ done) {
  const ways = tabs().filter((tab) => tab.takesPicture);
  if (!ways.length) return null;
  const menu = /** @type {HTMLSelectElement} */ (
    h("select", { class: "po-select", "aria-label": "Send to" }, h("option", { value: "" }, "Send to …"), ...ways.map((tab) => h("option", { value: tab.id }, tab.label)))
  );
  menu.addEventListener("change", () => {
    if (menu.value) send({ do: "send", image: imageId(), tab: menu.value }).then(tellAnswer);
    menu.value = "";
    done();
  });
  return menu;
}
