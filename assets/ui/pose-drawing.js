/** People over a picture, in the shapes and colours of the map; with what only an editor shows. */

import { svg } from "./dom.js";
import { hasPlace } from "./pose-people.js";

/** @typedef {import("./pose-people.js").Pose} Pose */
/** @typedef {import("./pose-people.js").Skeleton} Skeleton */

const LEAST_RADIUS_PX = 4.5;
const LEAST_OPACITY = 0.35;

/**
 * @param {ReturnType<typeof import("./canvas-view.js").view>} view
 * @param {Skeleton} skeleton
 */
export function figures(view, skeleton) {
  const root = svg("svg", { class: "po-c-guides po-pose-people", "aria-hidden": "true" });
  const colour = (/** @type {number} */ at, light = 1) => `rgb(${skeleton.colours[at].map((part) => Math.floor(part * light)).join(" ")})`;

  return {
    root,
    /** @param {Pose} pose @param {number} who @param {number} chosen the joint with the focus, or -1 */
    draw(pose, who, chosen) {
      const { scale, x, y } = view.place;
      const radius = Math.max(LEAST_RADIUS_PX, Math.min(pose.width, pose.height) * skeleton.thickness * scale);
      const at = (/** @type {import("./pose-people.js").Point} */ point) => ({ x: x + point.x * scale, y: y + point.y * scale });
      const opacity = (/** @type {number} */ sure) => LEAST_OPACITY + (1 - LEAST_OPACITY) * sure;
      const edge = svg("rect", { class: "po-pose-edge", x, y, width: pose.width * scale, height: pose.height * scale });
      /** @type {Node[]} */
      const nodes = [edge];
      for (const [index, person] of pose.people.entries()) {
        const group = svg("g", { class: index === who ? "po-pose-person po-is-chosen" : "po-pose-person" });
        for (const [limb, [from, to]] of skeleton.limbs.entries()) {
          if (!(person[from].sure > 0 && person[to].sure > 0)) continue;
          const [a, b] = [at(person[from]), at(person[to])];
          const turn = (Math.atan2(b.y - a.y, b.x - a.x) * 180) / Math.PI;
          group.append(svg("ellipse", { rx: Math.hypot(b.x - a.x, b.y - a.y) / 2, ry: radius, transform: `translate(${(a.x + b.x) / 2} ${(a.y + b.y) / 2}) rotate(${turn})`, fill: colour(limb, skeleton.limb_light), opacity: opacity(Math.min(person[from].sure, person[to].sure)) }));
        }
        for (const [joint, one] of person.entries()) {
          const place = at(one);
          const kind = { "data-who": index, "data-joint": joint };
          if (one.sure > 0) group.append(svg("circle", { ...kind, class: "po-pose-joint", cx: place.x, cy: place.y, r: radius, fill: colour(joint), opacity: opacity(one.sure) }));
          else if (index === who && hasPlace(one)) group.append(svg("circle", { ...kind, class: "po-pose-ghost", cx: place.x, cy: place.y, r: radius, stroke: colour(joint) }));
        }
        nodes.push(group);
      }
      const focused = pose.people[who]?.[chosen];
      if (focused && hasPlace(focused)) {
        const place = at(focused);
        for (const shade of ["po-c-dark", "po-c-light"]) nodes.push(svg("circle", { class: `po-pose-ring ${shade}`, cx: place.x, cy: place.y, r: radius + 5 }));
        const label = svg("text", { class: "po-pose-number", x: place.x + radius + 9, y: place.y + 4 });
        label.textContent = focused.sure > 0 ? `${Math.round(100 * focused.sure)} %` : "hidden";
        nodes.push(label);
      }
      root.replaceChildren(...nodes);
    },
  };
}
