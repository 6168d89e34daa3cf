/** The tools beside a mask canvas: what the hand holds, and what is done to all of the mask. */

import { button, h, icon } from "./dom.js";

/**
 * @typedef {"brush"|"eraser"|"rectangle"|"lasso"} Tool
 * @typedef {{tool: Tool, size: number, softness: number, opacity: number, away: boolean}} Held
 *   size in px of the picture, softness and opacity 0 … 1; `away`: rectangle and lasso take away
 * @typedef {{undo: () => void, redo: () => void, invert: () => void, clear: () => void, transparency: () => void,
 *   upload: (file: File) => void, download: () => void, held: () => void}} Acts
 */

const KEY = "pochade-brush";
export const LEAST_SIZE = 1;
export const MOST_SIZE = 1024;
const TOOLS = /** @type {[Tool, string, string][]} */ ([
  ["brush", "Brush (B)", "brush"],
  ["eraser", "Eraser (E)", "eraser"],
  ["rectangle", "Rectangle (R)", "rectangle"],
  ["lasso", "Lasso (L)", "lasso"],
]);

/** @param {Acts} acts */
export function tools(acts) {
  const held = remembered();
  const choices = TOOLS.map(([name, label, symbol]) => button(label, symbol, () => take(name), { quiet: true, "data-tool": name, class: "po-tool po-c-tool" }));
  const size = slider("Size", 0, 1000, () => resize(fromSlider(Number(size.input.value))));
  const softness = slider("Softness", 0, 100, () => change({ softness: Number(softness.input.value) / 100 }));
  const opacity = slider("Opacity", 1, 100, () => change({ opacity: Number(opacity.input.value) / 100 }));
  const away = button("Take away", "minus", () => change({ away: !held.away }), { class: "po-button po-c-away" });
  const undo = button("Undo (Ctrl+Z)", "undo", acts.undo, { quiet: true });
  const redo = button("Redo (Ctrl+Shift+Z)", "redo", acts.redo, { quiet: true });
  const invert = button("Invert (X)", "invert", acts.invert, { quiet: true, "aria-pressed": "false" });
  const clear = button("Clear the mask", "bin", acts.clear, { quiet: true });
  const file = /** @type {HTMLInputElement} */ (
    h("input", { type: "file", accept: "image/png,image/jpeg,image/webp", class: "po-sr", tabindex: "-1", "aria-hidden": "true", "data-role": "mask-file" })
  );
  file.addEventListener("change", () => {
    if (file.files?.[0]) acts.upload(file.files[0]);
    file.value = "";
  });
  const menu = /** @type {HTMLDetailsElement} */ (h("details", { class: "po-c-menu" }, h("summary", { class: "po-button" }, icon("mask"), h("span", {}, "Mask"))));
  const item = (/** @type {string} */ label, /** @type {string} */ symbol, /** @type {() => void} */ act) =>
    button(label, symbol, () => {
      menu.open = false;
      act();
    });
  menu.append(
    h(
      "div",
      { class: "po-c-items" },
      item("From the picture's transparency", "picture", acts.transparency),
      item("Upload a mask …", "up-from", () => file.click()),
      item("Download the mask", "down-to", acts.download),
    ),
  );
  document.addEventListener("pointerdown", (event) => {
    if (menu.open && !menu.contains(/** @type {Node} */ (event.target))) menu.open = false;
  });
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    menu.open = false;
    /** @type {HTMLElement} */ (menu.firstElementChild).focus();
  });

  const root = h(
    "div",
    { class: "po-c-tools" },
    h("div", { class: "po-c-group", role: "group", "aria-label": "Tool" }, ...choices),
    h("div", { class: "po-c-group", role: "group", "aria-label": "History" }, undo, redo),
    h("div", { class: "po-c-group", role: "group", "aria-label": "Whole mask" }, invert, clear, menu, file),
    h("div", { class: "po-c-group po-c-sliders" }, size.root, softness.root, opacity.root, away),
  );

  function show() {
    for (const one of choices) one.setAttribute("aria-pressed", String(one.dataset.tool === held.tool));
    const drawn = held.tool === "brush" || held.tool === "eraser";
    size.show(toSlider(held.size), `${held.size} px`);
    softness.show(Math.round(100 * held.softness), `${Math.round(100 * held.softness)} %`);
    opacity.show(Math.round(100 * held.opacity), `${Math.round(100 * held.opacity)} %`);
    size.root.hidden = softness.root.hidden = !drawn;
    away.hidden = drawn;
    away.setAttribute("aria-pressed", String(held.away));
  }

  /** @param {Partial<Held>} values */
  function change(values) {
    Object.assign(held, values);
    remember(held);
    show();
    acts.held();
  }

  /** @param {Tool} tool */
  function take(tool) {
    change({ tool });
  }

  /** @param {number} wanted px of the picture */
  function resize(wanted) {
    change({ size: Math.max(LEAST_SIZE, Math.min(MOST_SIZE, Math.round(wanted))) });
  }

  show();
  return {
    root,
    held: /** @type {Readonly<Held>} */ (held),
    take,
    resize,
    /** @param {{canUndo: boolean, canRedo: boolean, inverted: boolean, enabled: boolean}} state */
    state({ canUndo, canRedo, inverted, enabled }) {
      undo.toggleAttribute("disabled", !canUndo);
      redo.toggleAttribute("disabled", !canRedo);
      invert.setAttribute("aria-pressed", String(inverted));
      root.toggleAttribute("inert", !enabled);
    },
  };
}

/** Small sizes need more room on the slider than large ones. */
function toSlider(/** @type {number} */ size) {
  return Math.round(1000 * (Math.log(size / LEAST_SIZE) / Math.log(MOST_SIZE / LEAST_SIZE)));
}

function fromSlider(/** @type {number} */ value) {
  return LEAST_SIZE * (MOST_SIZE / LEAST_SIZE) ** (value / 1000);
}

function slider(/** @type {string} */ label, /** @type {number} */ min, /** @type {number} */ max, /** @type {() => void} */ oninput) {
  const input = /** @type {HTMLInputElement} */ (h("input", { type: "range", min, max, step: 1, "aria-label": label, oninput }));
  const words = h("output", {});
  return {
    input,
    root: h("label", { class: "po-c-slider" }, h("span", {}, label), input, words),
    show(/** @type {number} */ value, /** @type {string} */ text) {
      if (input.value !== String(value)) input.value = String(value);
      input.setAttribute("aria-valuetext", text);
      words.textContent = text;
    },
  };
}

/** @returns {Held} */
function remembered() {
  const fresh = { tool: /** @type {Tool} */ ("brush"), size: 48, softness: 0, opacity: 1, away: false };
  try {
    const kept = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    for (const name of /** @type {("size"|"softness"|"opacity")[]} */ (["size", "softness", "opacity"])) if (Number.isFinite(kept[name])) fresh[name] = kept[name];
  } catch {
    // without storage the tools begin anew
  }
  return fresh;
}

function remember(/** @type {Held} */ { size, softness, opacity }) {
  try {
    localStorage.setItem(KEY, JSON.stringify({ size, softness, opacity }));
  } catch {
    // the same
  }
}
