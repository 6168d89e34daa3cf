/** Short messages of our own, where an answer can be given: "Moved to the trash. Undo". */

import { ApiError } from "./api.js";
import { button, h } from "./dom.js";

const SECONDS = 8;
const host = h("div", { class: "po-toasts", role: "status", "aria-live": "polite" });

/** A modal dialog makes everything outside of it unreachable, so the messages move into it. */
function settle() {
  const home = [...document.querySelectorAll("dialog[open]")].pop() ?? document.body;
  if (host.parentElement !== home) home.append(host);
}

/** @param {string} text @param {{label: string, run: () => void}} [action] */
export function toast(text, action) {
  settle();
  const row = h("div", { class: "po-toast" }, h("span", {}, text));
  const gone = () => row.remove();
  if (action) {
    row.append(button(action.label, null, () => (gone(), action.run())));
  }
  row.append(button("Dismiss", "close", gone, { quiet: true }));
  host.append(row);
  let timer = setTimeout(gone, SECONDS * 1000);
  row.addEventListener("pointerenter", () => clearTimeout(timer));
  row.addEventListener("focusin", () => clearTimeout(timer));
  row.addEventListener("pointerleave", () => (timer = setTimeout(gone, SECONDS * 500)));
  row.addEventListener("focusout", () => (timer = setTimeout(gone, SECONDS * 500)));
}

/** @param {unknown} error */
export function complain(error) {
  if (error instanceof ApiError) toast(`${error.message} ${error.hint}`);
  else {
    toast("Something went wrong on this page. Reload it and try again.");
    console.error(error);
  }
}

export function keepToasts() {
  document.addEventListener("close", settle, true);
}

/** @param {string} text @param {string} what */
export async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // without https a browser has no clipboard, only the old command
    const box = /** @type {HTMLTextAreaElement} */ (h("textarea", { class: "po-hidden", "aria-hidden": "true" }));
    box.value = text;
    host.append(box);
    box.select();
    document.execCommand("copy");
    box.remove();
  }
  toast(`${what} copied.`);
}
