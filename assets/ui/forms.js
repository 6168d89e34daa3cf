/**
 * The forms, which are Gradio's and the server's. Each is restored once: when its tab is first
 * opened, or before something is written into it; until then nobody can type into it. What is typed
 * and what the server wrote into one is kept from here, all else from `_Wires` in studio/ui/shell.py.
 */

import { tell } from "./bus.js";
import { tabs } from "./tabs.js";

const MARK = "data-restored-";
const PAUSE_MS = 150;
/** @type {Map<string, (() => void)[]>} who waits for a form, by tab */
const waiting = new Map();

/** @type {Map<string, number>} */
const timers = new Map();

const press = (/** @type {string} */ id) => document.getElementById(id)?.click();
const zone = (/** @type {string} */ tab) => document.getElementById(`tab-${tab}`);

/** Whether the form of a tab is as it was left. @param {string} tab */
export function isRestored(tab) {
  return document.body.hasAttribute(MARK + tab);
}

/** Has the form of a tab restored if it is not, and waits for it; a tab without one is always ready. @param {string} tab */
export async function restored(tab) {
  const forms = tabs().filter((one) => one.task);
  if (isRestored(tab) || !forms.some((one) => one.id === tab)) return;
  const first = !waiting.has(tab);
  const done = new Promise((resolve) => waiting.set(tab, [...(waiting.get(tab) ?? []), () => resolve(undefined)]));
  zone(tab)?.toggleAttribute("inert", true);
  // the form that a page opens with is restored as it is loaded
  if (first && tab !== forms[0].id) press(`${tab}-restore`);
  await done;
}

/** Weights came or went. @param {string[]} tabs */
export function lookAnew(tabs) {
  for (const tab of tabs) if (isRestored(tab)) press(`${tab}-anew`);
}

/** Soon, and once for all that comes until then. @param {string} tab */
function keep(tab) {
  if (timers.has(tab)) return;
  timers.set(tab, window.setTimeout(() => (timers.delete(tab), press(`${tab}-keep`)), PAUSE_MS));
}

/** Gradio's text boxes have an event of their own, but only for keys: not for what is pasted, deleted or dictated. @param {Event} event */
function typed({ target }) {
  if (!(target instanceof HTMLTextAreaElement) && !(target instanceof HTMLInputElement && target.type === "text")) return;
  const tab = target.closest(".po-part") ? null : target.closest(".tabitem");
  if (tab) keep(tab.id.replace("tab-", ""));
}

export function keepForms() {
  new MutationObserver((changes) => {
    const tabs = changes.map((one) => one.attributeName ?? "").filter((name) => name.startsWith(MARK));
    for (const tab of tabs.map((name) => name.slice(MARK.length))) {
      zone(tab)?.removeAttribute("inert");
      for (const done of waiting.get(tab) ?? []) done();
    }
    if (tabs.length) tell("form");
  }).observe(document.body, { attributes: true });
  document.addEventListener("input", typed);
  document.addEventListener("pochade-written", (event) => keep(/** @type {CustomEvent} */ (event).detail));
}
