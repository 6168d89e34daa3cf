/** Lines over a picture: the shape that is being drawn, and the box of what will be looked at. */

import { svg } from "./dom.js";

/** @typedef {import("./canvas-strokes.js").Rect} Rect */

/** @param {ReturnType<typeof import("./canvas-view.js").view>} view */
export function guides(view) {
  const box = twice("rect", "po-c-box");
  const shape = twice("polygon", "po-c-shape");
  const root = svg("svg", { class: "po-c-guides", "aria-hidden": "true" }, ...box, ...shape);
  /** @type {Rect|null} */
  let boxed = null;
  /** Corners in px of the picture. @type {number[]} */
  let corners = [];

  function draw() {
    const { scale, x, y } = view.place;
    for (const line of box) {
      line.toggleAttribute("hidden", !boxed);
      if (!boxed) continue;
      line.setAttribute("x", String(x + boxed.left * scale));
      line.setAttribute("y", String(y + boxed.top * scale));
      line.setAttribute("width", String((boxed.right - boxed.left) * scale));
      line.setAttribute("height", String((boxed.bottom - boxed.top) * scale));
    }
    const points = corners.map((at, i) => (i % 2 ? y : x) + at * scale);
    for (const line of shape) line.setAttribute("points", points.join(" "));
  }
  view.onmove(draw);

  return {
    root,
    /** @param {Rect|null} rect */
    box(rect) {
      boxed = rect;
      draw();
    },
    /** @param {string} kind @param {number[]} points two corners of a rectangle, or all of a line */
    shape(kind, points) {
      const [ax, ay, bx, by] = points;
      corners = kind === "rectangle" && points.length === 4 ? [ax, ay, bx, ay, bx, by, ax, by] : points;
      draw();
    },
  };
}

/** A light line over a dark one shows on every picture. @param {string} kind @param {string} name */
function twice(kind, name) {
  return [svg(kind, { class: `${name} po-c-dark` }), svg(kind, { class: `${name} po-c-light` })];
}
