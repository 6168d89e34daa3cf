/** What is added to the checkpoint: LoRAs, each a row with its weights, another VAE, and a refiner. */

import { api } from "./api.js";
import { apart, choose, percent, slider } from "./controls.js";
import { button, h, keyed, say } from "./dom.js";
import { field } from "./field.js";
import { complain } from "./toasts.js";

/**
 * @typedef {{name: string, weight?: number, text_weight?: number|null}} Added
 * @typedef {{loras: Added[], vae: string, refiner: string, refiner_after: number}} Worn
 * @typedef {Record<string, any>} Choices `/api/choices`
 */

const BOUNDS = { min: -1, max: 2, step: 0.05 };
const AFTER = { min: 0.05, max: 0.95, step: 0.05 };
const NOTHING = Object.freeze({ loras: [], vae: "", refiner: "", refiner_after: 0.8 });
const NO_LORA = "No LoRA for this checkpoint is in the folder 'loras' of the data folder yet.";

/** @param {HTMLElement} root */
export function extras(root) {
  const { tab = "", name = "", refined = "yes" } = root.dataset;
  /** @type {Worn} */
  let worn = { ...NOTHING };
  /** @type {Choices|null} */
  let choices = null;
  const value = field(tab, name, (text) => ((worn = parsed(text)), draw()));

  const list = h("ol", { class: "po-loras", "aria-label": "LoRAs" });
  const add = choose("Add a LoRA", {}, (id) => id && put({ ...worn, loras: [...worn.loras, { name: id, weight: 1 }] }));
  const none = h("p", { class: "po-soft po-loras-none" }, NO_LORA);
  const vae = choose("VAE", {}, (id) => put({ ...worn, vae: id }));
  const refiner = choose("Refiner", {}, (id) => put({ ...worn, refiner: id }));
  const after = slider("Takes over after", AFTER, (share) => put({ ...worn, refiner_after: share }), (share) => `${percent(share)} of the steps`);
  root.append(h("div", { class: "po-extras" }, list, none, add.node, vae.node, refiner.node, after.node));

  /** @param {Worn} next */
  function put(next) {
    worn = next;
    value.set(next.loras.length || next.vae || next.refiner ? JSON.stringify(next) : "");
    draw();
  }

  /** @param {number} at @param {Partial<Added>} changes */
  const change = (at, changes) => put({ ...worn, loras: worn.loras.map((row, index) => (index === at ? { ...row, ...changes } : row)) });

  const checkpoint = () => /** @type {HTMLElement|null} */ (document.querySelector(`#${tab}-${name}-seen [data-extras]`))?.dataset.checkpoint || choices?.default_checkpoint;

  function draw() {
    if (!choices) return;
    const known = choices;
    const fits = (/** @type {any} */ row) => row.fits.includes(checkpoint());
    const fitting = known.loras.filter(fits);
    const titles = apart(known.loras);
    keyed(
      list,
      worn.loras.map((row, index) => ({ row, index })),
      ({ row, index }) => `${index} ${row.name}`,
      () => lora((index, changes) => change(index, changes), (index) => put({ ...worn, loras: worn.loras.filter((_, at) => at !== index) })),
      (node, { row, index }) => {
        const about = known.loras.find((/** @type {any} */ one) => one.id === row.name);
        const wrong = about ? about.problem || (fits(about) ? "" : "Not made for this checkpoint.") : "Not here any more.";
        shown.get(node)?.(row, index, titles[row.name] ?? row.name, wrong);
      },
    );
    none.hidden = fitting.length > 0 || worn.loras.length > 0;
    add.node.hidden = !fitting.length;
    add.options({ "": "Choose one …", ...apart(fitting) });
    add.set("");
    const others = known.vaes.filter((/** @type {any} */ row) => fits(row) || row.id === worn.vae);
    vae.node.hidden = !others.length && !worn.vae;
    vae.options({ "": "The checkpoint's own", ...apart(others), ...(worn.vae && !others.length ? { [worn.vae]: worn.vae } : {}) });
    vae.set(worn.vae);
    const refiners = known.refiners.filter((/** @type {any} */ row) => fits(row) || row.id === worn.refiner);
    refiner.node.hidden = refined === "no" || (!refiners.length && !worn.refiner);
    refiner.options({ "": "None", ...apart(refiners), ...(worn.refiner && !refiners.length ? { [worn.refiner]: worn.refiner } : {}) });
    refiner.set(worn.refiner);
    after.node.hidden = refiner.node.hidden || !worn.refiner;
    after.set(worn.refiner_after);
  }

  const readout = document.getElementById(`${tab}-${name}-seen`);
  if (readout) new MutationObserver(() => draw()).observe(readout, { childList: true, subtree: true, attributes: true });
  api.choices().then((found) => ((choices = found), draw()), complain);
  return { show: value.look };
}

/** @type {WeakMap<Element, (row: Added, index: number, label: string, wrong: string) => void>} */
const shown = new WeakMap();

/** @param {(index: number, changes: Partial<Added>) => void} change @param {(index: number) => void} drop */
function lora(change, drop) {
  let at = 0;
  const title = h("span", { class: "po-lora-name" });
  const remove = button("Remove this LoRA", "close", () => drop(at), { quiet: true });
  const weight = slider("Weight", BOUNDS, (weight) => change(at, { weight }));
  const text = slider("On the prompt", BOUNDS, (text_weight) => change(at, { text_weight }));
  const apart = h("button", { type: "button", class: "po-link" });
  const words = h("p", { class: "po-lora-wrong", role: "status" });
  let row = /** @type {Added} */ ({ name: "" });
  apart.addEventListener("click", () => change(at, { text_weight: row.text_weight == null ? row.weight ?? 1 : null }));
  const node = h("li", { class: "po-lora" }, h("div", { class: "po-unit-head" }, title, remove), weight.node, text.node, apart, words);
  shown.set(node, (now, index, label, wrong) => {
    row = now;
    at = index;
    say(title, label);
    weight.set(now.weight ?? 1);
    text.set(now.text_weight ?? now.weight ?? 1);
    text.node.hidden = now.text_weight == null;
    say(apart, now.text_weight == null ? "Weigh the prompt apart" : "One weight for both");
    say(words, wrong);
  });
  return node;
}

/** @param {string} text @returns {Worn} */
function parsed(text) {
  try {
    const found = JSON.parse(text || "{}");
    return { ...NOTHING, ...found };
  } catch {
    return { ...NOTHING };
  }
}
