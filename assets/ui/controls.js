/** Small labelled controls: one of several, and a number on a line. */

import { h, say } from "./dom.js";

export const percent = (/** @type {number} */ share) => `${Math.round(share * 100)} %`;

/** @param {string} label @param {Record<string, string>} options @param {(value: string) => void} changed */
export function choose(label, options, changed) {
  const select = /** @type {HTMLSelectElement} */ (h("select", { class: "po-select" }));
  const node = h("label", { class: "po-field" }, h("span", {}, label), select);
  let known = "";
  select.addEventListener("change", () => changed(select.value));
  const made = {
    node,
    /** @param {Record<string, string>} next */
    options(next) {
      const said = JSON.stringify(next);
      if (said === known) return;
      known = said;
      select.replaceChildren(...Object.entries(next).map(([value, words]) => h("option", { value }, words)));
    },
    /** @param {string} value */
    set: (value) => void (select.value = value),
  };
  made.options(options);
  return made;
}

/** @param {string} label @param {{min: number, max: number, step: number}} bounds @param {(value: number) => void} changed */
export function slider(label, bounds, changed, said = (/** @type {number} */ value) => value.toFixed(2)) {
  const input = /** @type {HTMLInputElement} */ (h("input", { type: "range", ...bounds }));
  const shown = h("output", {});
  const node = h("label", { class: "po-field po-range" }, h("span", {}, label), input, shown);
  input.addEventListener("input", () => say(shown, said(Number(input.value))));
  input.addEventListener("change", () => changed(Number(input.value)));
  return {
    node,
    /** @param {number} value */
    set(value) {
      if (document.activeElement !== input) input.value = String(value);
      say(shown, said(value));
    },
  };
}

/** What to call each of several files, by id: those of one name by their folders. @param {any[]} rows @returns {Record<string, string>} */
export function apart(rows) {
  const twice = (/** @type {any} */ row) => rows.filter((one) => one.label === row.label).length > 1;
  return Object.fromEntries(rows.map((row) => [row.id, twice(row) ? row.id : row.label]));
}
