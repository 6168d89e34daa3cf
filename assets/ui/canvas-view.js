/**
 * A picture that can be stepped closer to and moved, and the hand that works on it. The picture is
 * an element that the browser scales, never copied; what is drawn over it is as large as the view.
 */

import { h } from "./dom.js";

/** @typedef {import("./canvas-tint.js").Place} Place */
/** @typedef {import("./canvas-strokes.js").Rect} Rect */
/** @typedef {{x: number, y: number}} Point */
/**
 * Works on the picture with one pointer. Points are in px of the picture.
 * @typedef {{
 *   down: (point: Point, event: PointerEvent) => boolean, move: (point: Point, event: PointerEvent) => void, up: () => void,
 *   cancel: () => void, hover: (point: Point|null, event: PointerEvent) => void}} Hand
 *   `down` tells whether it takes the pointer; `cancel` means that it was no stroke but the start of a pinch
 */

const MOST_SCALE = 40;
/** From here on pixels are shown as squares. */
const SQUARES_FROM = 3;
const MARGIN_PX = 16;
/** A second finger within this time makes the first one's stroke part of a pinch. */
const PINCH_MS = 350;
/** While a pen is used the palm lies on the screen: for so long fingers only move the picture. */
const PEN_MS = 10_000;

/** @param {Hand} hand */
export function view(hand) {
  const picture = /** @type {HTMLImageElement} */ (h("img", { class: "po-c-picture", alt: "", draggable: "false" }));
  const over = /** @type {HTMLCanvasElement} */ (h("canvas", { class: "po-c-over", "aria-hidden": "true" }));
  const stage = h("div", { class: "po-c-stage", tabindex: "0", role: "application" }, picture, over);
  const context = /** @type {CanvasRenderingContext2D} */ (over.getContext("2d"));
  /** @type {Place} */
  let place = { scale: 1, x: 0, y: 0 };
  /** What is to be in view: the picture, and whatever is added at its sides. @type {Rect} */
  let content = { left: 0, top: 0, right: 1, bottom: 1 };
  let fitted = true;
  /** @type {Map<number, Point & {began: number}>} */
  const pointers = new Map();
  /** @type {""|"hand"|"pan"|"pinch"} */
  let doing = "";
  let penUntil = 0;
  let space = false;
  /** @type {(() => void)[]} */
  const listeners = [];
  let planned = 0;

  function moved() {
    picture.style.transform = `translate(${place.x}px, ${place.y}px) scale(${place.scale})`;
    picture.classList.toggle("po-c-squares", place.scale >= SQUARES_FROM);
    planned ||= requestAnimationFrame(() => {
      planned = 0;
      for (const listener of listeners) listener();
    });
  }

  function fit() {
    const [across, down] = [content.right - content.left, content.bottom - content.top];
    const room = [Math.max(1, stage.clientWidth - 2 * MARGIN_PX), Math.max(1, stage.clientHeight - 2 * MARGIN_PX)];
    const scale = Math.min(room[0] / across, room[1] / down, MOST_SCALE);
    place = {
      scale,
      x: (stage.clientWidth - across * scale) / 2 - content.left * scale,
      y: (stage.clientHeight - down * scale) / 2 - content.top * scale,
    };
    fitted = true;
    moved();
  }

  /** Keeps some of the picture in view. @param {Place} wanted */
  function go(wanted) {
    const keep = Math.min(64, stage.clientWidth / 4, stage.clientHeight / 4);
    const bound = (/** @type {number} */ at, /** @type {number} */ low, /** @type {number} */ high, /** @type {number} */ room) =>
      Math.max(keep - high * wanted.scale, Math.min(room - keep - low * wanted.scale, at));
    place = {
      scale: wanted.scale,
      x: bound(wanted.x, content.left, content.right, stage.clientWidth),
      y: bound(wanted.y, content.top, content.bottom, stage.clientHeight),
    };
    fitted = false;
    moved();
  }

  /** @param {number} factor @param {Point} [at] the point of the view that stays; its middle */
  function zoom(factor, at = { x: stage.clientWidth / 2, y: stage.clientHeight / 2 }) {
    const across = content.right - content.left;
    const least = Math.min(0.5, 48 / across);
    const scale = Math.max(least, Math.min(MOST_SCALE, place.scale * factor));
    const grown = scale / place.scale;
    go({ scale, x: at.x - (at.x - place.x) * grown, y: at.y - (at.y - place.y) * grown });
  }

  /** @param {MouseEvent} event @returns {Point} in the view */
  function inView(event) {
    const box = stage.getBoundingClientRect();
    return { x: event.clientX - box.left - stage.clientLeft, y: event.clientY - box.top - stage.clientTop };
  }

  /** @param {MouseEvent} event @returns {Point} in the picture */
  function inPicture(event) {
    const point = inView(event);
    return { x: (point.x - place.x) / place.scale, y: (point.y - place.y) / place.scale };
  }

  stage.addEventListener("pointerdown", (event) => {
    if (event.target instanceof Element && event.target.closest("button, [role=slider], input")) return;
    if (event.pointerType === "pen") penUntil = Date.now() + PEN_MS;
    pointers.set(event.pointerId, { ...inView(event), began: Date.now() });
    stage.setPointerCapture(event.pointerId);
    stage.focus({ preventScroll: true });
    event.preventDefault();
    const fingers = pointers.size;
    if (fingers > 1) {
      const first = Math.min(...[...pointers.values()].map((pointer) => pointer.began));
      if (doing === "hand") {
        if (Date.now() - first > PINCH_MS) return;
        hand.cancel();
      }
      doing = fingers === 2 ? "pinch" : doing;
      return;
    }
    const only = event.pointerType === "touch" && Date.now() < penUntil;
    if (event.button === 1 || (event.button === 0 && (space || only))) doing = "pan";
    else if (event.button === 0 || event.button === 5) doing = hand.down(inPicture(event), event) ? "hand" : "pan";
    stage.classList.toggle("po-c-moving", doing === "pan");
  });

  stage.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    hand.hover(event.pointerType === "touch" ? null : inPicture(event), event);
    if (!before) return;
    const now = inView(event);
    if (doing === "hand" && pointers.keys().next().value === event.pointerId) {
      const steps = event.getCoalescedEvents?.() ?? [];
      for (const step of steps.length ? steps : [event]) hand.move(inPicture(step), step);
    } else if (doing === "pan") {
      go({ ...place, x: place.x + now.x - before.x, y: place.y + now.y - before.y });
    } else if (doing === "pinch") {
      const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
      if (other) {
        const [was, is] = [Math.hypot(before.x - other.x, before.y - other.y), Math.hypot(now.x - other.x, now.y - other.y)];
        const middle = { x: (now.x + other.x) / 2, y: (now.y + other.y) / 2 };
        go({ ...place, x: place.x + (now.x - before.x) / 2, y: place.y + (now.y - before.y) / 2 });
        if (was > 8) zoom(is / was, middle);
      }
    }
    pointers.set(event.pointerId, { ...before, ...now });
  });

  for (const ending of ["pointerup", "pointercancel"]) {
    stage.addEventListener(ending, (event) => {
      if (!pointers.delete(/** @type {PointerEvent} */ (event).pointerId) || pointers.size) return;
      if (doing === "hand") hand.up();
      doing = "";
      stage.classList.remove("po-c-moving");
    });
  }
  stage.addEventListener("pointerleave", (event) => hand.hover(null, event));
  // the middle button would begin to scroll
  stage.addEventListener("mousedown", (event) => event.button === 1 && event.preventDefault());

  stage.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const unit = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 24 : 1;
      // two fingers on a trackpad move in both directions, a wheel only in one
      if (!event.ctrlKey && (event.deltaX || event.shiftKey)) {
        const [x, y] = event.shiftKey && !event.deltaX ? [event.deltaY, 0] : [event.deltaX, event.deltaY];
        go({ ...place, x: place.x - x * unit, y: place.y - y * unit });
      } else zoom(Math.exp((-event.deltaY * unit) / (event.ctrlKey ? 100 : 400)), inView(event));
    },
    { passive: false },
  );

  new ResizeObserver(() => {
    const [across, down] = [stage.clientWidth, stage.clientHeight];
    if (!across || !down) return; // its tab is not open
    over.width = across;
    over.height = down;
    if (fitted) fit();
    else moved();
  }).observe(stage);

  return {
    stage,
    picture,
    context,
    fit,
    zoom,
    /** @param {() => void} listener called once a frame in which the view has moved */
    onmove: (listener) => listeners.push(listener),
    get place() {
      return place;
    },
    /** @param {Rect} rect what is to be in view when it is fitted, in px of the picture */
    hold(rect, refit = fitted) {
      content = rect;
      if (refit) fit();
      else moved();
    },
    get grabbing() {
      return space;
    },
    /** Space is held: the next drag moves the picture. @param {boolean} held */
    grab(held) {
      space = held;
      stage.classList.toggle("po-c-grab", held);
    },
    /** Shows a picture once all of it is there. @param {string} url @returns {Promise<{width: number, height: number}>} */
    async open(url) {
      const next = new Image();
      next.src = url;
      await next.decode();
      picture.src = url;
      const size = { width: next.naturalWidth, height: next.naturalHeight };
      picture.style.width = `${size.width}px`;
      picture.style.height = `${size.height}px`;
      content = { left: 0, top: 0, right: size.width, bottom: size.height };
      fit();
      return size;
    },
    close() {
      picture.removeAttribute("src");
      context.clearRect(0, 0, over.width, over.height);
    },
  };
}
