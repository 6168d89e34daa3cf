/** A picture that is added to at its sides: drag a side outwards, or type by how much. */

import { url } from "./api.js";
import { values } from "./canvas-form.js";
import { lens, line, nothing, takesPictures } from "./canvas-frame.js";
import { view } from "./canvas-view.js";
import { views } from "./canvas-views.js";
import { button, h, svg } from "./dom.js";
import { field } from "./field.js";

/** @typedef {"left"|"right"|"top"|"bottom"} Side */
/** @typedef {Record<Side, number>} Sides px of the picture that are added */

const SIDES = /** @type {Side[]} */ (["left", "right", "top", "bottom"]);
const WORDS = { left: "on the left", right: "on the right", top: "at the top", bottom: "at the bottom" };
const ARROWS = { left: "left", right: "right", top: "up", bottom: "down" };
const STEP_PX = 8;
const LARGE_STEP_PX = 64;
/** Room around the picture to drag into, as a share of its longer side. */
const ROOM = 0.22;

/** @param {HTMLElement} root `data-tab` names the form it belongs to */
export function sides(root) {
  const { tab = "" } = root.dataset;
  const image = field(tab, "image", soon);
  const form = values(tab, soon);
  /** @type {{ref: string, width: number, height: number}|null} */
  let picture = null;
  let opening = "";
  /** @type {Sides} */
  let added = { left: 0, right: 0, top: 0, bottom: 0 };
  /** The side that is being dragged. @type {Side|null} */
  let dragged = null;

  // nothing is drawn here, so every drag moves the picture
  const look = view({ down: () => false, move() {}, up() {}, cancel() {}, hover() {} });
  const { stage } = look;
  stage.setAttribute("aria-label", "The picture and what is added to it");
  stage.classList.add("po-c-sides");
  const fresh = svg("path", { class: "po-c-fresh", "fill-rule": "evenodd" });
  const frame = ["po-c-dark", "po-c-light"].map((shade) => svg("rect", { class: `po-c-box ${shade}` }));
  const hatch = svg("pattern", { id: `${tab}-hatch`, width: 10, height: 10, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" }, svg("rect", { width: 10, height: 10, class: "po-c-ground" }), svg("rect", { width: 4, height: 10, class: "po-c-stripe" }));
  fresh.setAttribute("fill", `url(#${tab}-hatch)`);
  const drawing = svg("svg", { class: "po-c-guides", "aria-hidden": "true" }, svg("defs", {}, hatch), fresh, ...frame);
  const handles = SIDES.map((side) => [side, handle(side)]);
  const empty = nothing("Choose a picture to go on from.");
  const status = line();
  const presets = h(
    "div",
    { class: "po-c-tools" },
    h("div", { class: "po-c-group", role: "group", "aria-label": "Half more" }, h("span", { class: "po-soft po-c-word" }, "Half more"), ...SIDES.map((side) => button(`Half more ${WORDS[side]}`, ARROWS[side], () => half(side), { quiet: true, "data-side": side }))),
    h("div", { class: "po-c-group" }, button("Square", null, () => shaped(1)), button("16:9", null, () => shaped(16 / 9)), button("None", null, () => put({ left: 0, right: 0, top: 0, bottom: 0 }))),
  );
  stage.append(drawing, ...handles.map(([, node]) => /** @type {Node} */ (node)), empty);
  const stages = views(root, "Picture");
  root.append(stages.head, h("section", { class: "po-c", "aria-label": "Sides" }, presets, h("div", { class: "po-c-place" }, stage, lens(look)), status.root));

  /** @param {Side} side */
  function handle(side) {
    const node = h("div", { class: "po-c-handle", role: "slider", tabindex: "0", "data-side": side, "aria-label": `Pixels to add ${WORDS[side]}`, "aria-valuemin": 0, "aria-orientation": side === "left" || side === "right" ? "horizontal" : "vertical" });
    let from = { x: 0, y: 0, px: 0 };
    node.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      event.preventDefault();
      node.setPointerCapture(event.pointerId);
      node.focus({ preventScroll: true });
      dragged = side;
      from = { x: event.clientX, y: event.clientY, px: added[side] };
    });
    node.addEventListener("pointermove", (event) => {
      if (dragged !== side) return;
      const out = { left: from.x - event.clientX, right: event.clientX - from.x, top: from.y - event.clientY, bottom: event.clientY - from.y }[side];
      const px = from.px + out / look.place.scale;
      added = { ...added, [side]: bounded(event.altKey ? Math.round(px) : Math.round(px / STEP_PX) * STEP_PX) };
      draw();
    });
    for (const ending of ["pointerup", "pointercancel"]) {
      node.addEventListener(ending, () => {
        if (dragged !== side) return;
        dragged = null;
        put(added);
      });
    }
    node.addEventListener("keydown", (event) => {
      const outwards = { left: "ArrowLeft", right: "ArrowRight", top: "ArrowUp", bottom: "ArrowDown" };
      const inwards = { left: "ArrowRight", right: "ArrowLeft", top: "ArrowDown", bottom: "ArrowUp" };
      const step = event.shiftKey ? LARGE_STEP_PX : STEP_PX;
      if (event.key === outwards[side]) put({ ...added, [side]: bounded(added[side] + step) });
      else if (event.key === inwards[side]) put({ ...added, [side]: bounded(added[side] - step) });
      else if (event.key === "Home") put({ ...added, [side]: 0 });
      else return;
      event.preventDefault();
    });
    return node;
  }

  function bounded(/** @type {number} */ px) {
    return Math.max(0, Math.min(form.read().most_added_px ?? 0, px));
  }

  /** @param {Side} side */
  function half(side) {
    if (!picture) return;
    const whole = side === "left" || side === "right" ? picture.width : picture.height;
    put({ ...added, [side]: bounded(Math.round(whole / 2)) });
  }

  /** As little as gives this shape, the same on both sides. @param {number} aspect width / height */
  function shaped(aspect) {
    if (!picture) return;
    const across = Math.max(0, Math.round(picture.height * aspect) - picture.width);
    const down = Math.max(0, Math.round(picture.width / aspect) - picture.height);
    const [left, top] = [Math.floor(across / 2), Math.floor(down / 2)];
    put({ left: bounded(left), right: bounded(across - left), top: bounded(top), bottom: bounded(down - top) });
  }

  /** Tells the form. @param {Sides} next */
  function put(next) {
    added = next;
    for (const side of SIDES) form.type(side, added[side]);
    arrange();
  }

  /** The picture with what is added to it is in view, and room to add more. */
  function arrange() {
    if (picture) {
      const { width, height } = picture;
      const room = ROOM * Math.max(width + added.left + added.right, height + added.top + added.bottom);
      look.hold({ left: -added.left - room, top: -added.top - room, right: width + added.right + room, bottom: height + added.bottom + room });
    }
    draw();
  }

  function draw() {
    const shown = Boolean(picture?.width);
    drawing.toggleAttribute("hidden", !shown);
    for (const [, node] of handles) /** @type {HTMLElement} */ (node).hidden = !shown;
    presets.toggleAttribute("inert", !shown);
    empty.hidden = picture !== null || opening !== "";
    if (!picture || !shown) return;
    const { scale, x, y } = look.place;
    const [width, height] = [picture.width + added.left + added.right, picture.height + added.top + added.bottom];
    const [left, top, across, down] = [x - added.left * scale, y - added.top * scale, width * scale, height * scale];
    fresh.setAttribute("d", `M${left} ${top}h${across}v${down}h${-across}z M${x} ${y}h${picture.width * scale}v${picture.height * scale}h${-picture.width * scale}z`);
    for (const rect of frame) for (const [name, value] of Object.entries({ x: left, y: top, width: across, height: down })) rect.setAttribute(name, String(value));
    const at = { left: [left, top + down / 2], right: [left + across, top + down / 2], top: [left + across / 2, top], bottom: [left + across / 2, top + down] };
    for (const [side, node] of /** @type {[Side, HTMLElement][]} */ (handles)) {
      node.textContent = added[side] ? `+${added[side]}` : "+";
      node.setAttribute("aria-valuenow", String(added[side]));
      node.setAttribute("aria-valuetext", `${added[side]} pixels`);
      node.style.transform = `translate(${at[side][0]}px, ${at[side][1]}px) translate(-50%, -50%)`;
    }
    root.dataset.size = `${width} ${height}`;
    tell(width, height);
  }
  look.onmove(draw);

  /** @param {number} width @param {number} height */
  function tell(width, height) {
    if (!picture) return;
    const { most_side_px: side, most_pixels: pixels } = form.read();
    status.measure(`${picture.width} × ${picture.height} px`);
    if (width === picture.width && height === picture.height) status.tell("Nothing is added yet. Drag a side outwards.");
    else if (Math.max(width, height) > side || width * height > pixels) {
      status.tell(`It would become ${width} × ${height} px, which is too large: ${side} px a side and ${pixels / 1e6} megapixels are the most.`, "bad");
    } else status.tell(`Becomes ${width} × ${height} px`);
  }

  let planned = 0;
  function soon() {
    clearTimeout(planned);
    planned = window.setTimeout(follow);
  }

  /** Follows what the form says now. */
  function follow() {
    image.look();
    if (image.value !== (opening || picture?.ref || "")) open(image.value);
    if (dragged) return;
    const said = form.read();
    const next = /** @type {Sides} */ (Object.fromEntries(SIDES.map((side) => [side, bounded(Number(said[side]) || 0)])));
    const same = SIDES.every((side) => next[side] === added[side]);
    added = next;
    if (same) draw();
    else arrange();
  }

  /** @param {string} ref */
  async function open(ref) {
    if (picture) stages.turn("work");
    picture = null;
    opening = ref;
    look.close();
    status.measure("");
    status.tell("");
    draw();
    if (!ref) return;
    const size = await look.open(url.picture(ref)).catch(() => null);
    if (opening !== ref) return;
    opening = "";
    picture = { ref, width: 0, height: 0, ...size };
    if (!size) status.tell("This picture is gone. Choose another one.", "bad");
    look.fit();
    arrange();
  }

  /** Another picture, from here: it has other sides. @param {string} ref */
  function use(ref) {
    put({ left: 0, right: 0, top: 0, bottom: 0 });
    image.set(ref);
    soon();
  }

  takesPictures(stage, use);
  follow();
  return {
    /** @param {import("./live.js").Snapshot} snapshot */
    show(snapshot) {
      soon();
      stages.show(snapshot);
    },
  };
}
