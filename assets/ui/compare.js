/** Two pictures over each other, and a line between them that mouse, finger and arrow keys move. */

import { h, icon, swap } from "./dom.js";

/**
 * @typedef {{left: number, top: number, width: number, height: number}} Place in per cent of the picture after
 * @typedef {{before: string, after: string, ratio: number, natural: number, fit: string, place: Place}} Pair
 *   addresses; width over height and width in px of the picture after; how the one before fills its place (CSS object-fit)
 */

export function comparison() {
  const after = /** @type {HTMLImageElement} */ (h("img", { class: "po-after", alt: "After", draggable: "false" }));
  const before = /** @type {HTMLImageElement} */ (h("img", { class: "po-before", alt: "Before", draggable: "false" }));
  const gone = h("p", { class: "po-before-gone", hidden: true }, "The picture before is gone.");
  // a range does dragging, touch, arrow keys and screen readers by itself
  const line = /** @type {HTMLInputElement} */ (h("input", { type: "range", min: 0, max: 100, step: 1, value: 50, "aria-label": "Line between before and after" }));
  const node = h(
    "div",
    { class: "po-compare" },
    after,
    h("div", { class: "po-before-side" }, before),
    gone,
    h("span", { class: "po-tag po-tag-before", "aria-hidden": "true" }, "Before"),
    h("span", { class: "po-tag po-tag-after", "aria-hidden": "true" }, "After"),
    h("div", { class: "po-line", "aria-hidden": "true" }, icon("swap")),
    line,
  );
  const move = () => {
    node.style.setProperty("--at", `${line.value}%`);
    line.setAttribute("aria-valuetext", `${line.value} per cent of the picture before`);
  };
  line.addEventListener("input", move);
  before.addEventListener("error", () => (gone.hidden = false));
  before.addEventListener("load", () => (gone.hidden = true));
  move();

  return {
    node,
    /** @param {Pair} pair */
    show(pair) {
      node.style.setProperty("--ratio", String(pair.ratio));
      node.style.setProperty("--natural", `${pair.natural}px`);
      before.style.objectFit = pair.fit;
      for (const [side, share] of Object.entries(pair.place)) before.style.setProperty(side, `${share}%`);
      if (before.getAttribute("src") !== pair.before) before.src = pair.before;
      swap(after, pair.after);
    },
  };
}

const FITS = /** @type {Record<string, string>} */ ({ crop: "cover", pad: "contain", stretch: "fill" });

/**
 * How the picture that a job started from lies under its results.
 * @param {Record<string, any>} request
 * @param {{width: number, height: number}} result in px
 * @returns {{fit: string, place: Place}}
 */
export function under(request, result) {
  const { left = 0, right = 0, top = 0, bottom = 0 } = request;
  const width = (100 * (result.width - left - right)) / result.width;
  const height = (100 * (result.height - top - bottom)) / result.height;
  const place = { left: (100 * left) / result.width, top: (100 * top) / result.height, width, height };
  return { fit: FITS[request.resize] ?? "fill", place };
}
