/**
 * The mask canvas: a picture, and what of it is painted anew. What is overlaid is the server's mask,
 * the very one that the pipeline will use; strokes are seen at once, and replaced by it when it comes.
 */

import { api, ApiError, url } from "./api.js";
import { values } from "./canvas-form.js";
import { lens, line, listens, nothing, question, takesPictures } from "./canvas-frame.js";
import { guides } from "./canvas-guides.js";
import { readLastChannel, writeGrey } from "./canvas-png.js";
import { blank, drawing } from "./canvas-strokes.js";
import { pyramid, tint } from "./canvas-tint.js";
import { tools } from "./canvas-tools.js";
import { view } from "./canvas-view.js";
import { views } from "./canvas-views.js";
import { button, h } from "./dom.js";
import { field } from "./field.js";
import { complain } from "./toasts.js";

/** @typedef {import("./canvas-strokes.js").Rect} Rect */
/** @typedef {import("./canvas-view.js").Point} Point */
/** @typedef {import("./canvas-tools.js").Tool} Tool */
/** @typedef {{tool: Tool, erase: boolean, opacity: number, shape: number[], last: [number, number, number]}} Under */

/** A mask is sent once the hand has rested for so long. */
const REST_MS = 300;
/** Gradio takes over what was written into a field in its next tick. */
const TICK_MS = 60;
/** What a request says of its mask, beside picture and mask. */
const FIELDS = ["invert", "grow_px", "feather_px", "area", "padding_px"];
/** The mask as it was drawn, not as it is used. */
const AS_DRAWN = { grow_px: 0, feather_px: 0, area: "whole" };
/** How long the brush is shown after its size was set elsewhere. */
const SAMPLE_MS = 1200;
const UNTOUCHED = "Nothing is masked yet. Paint over what you want to change.";

/** @param {HTMLElement} root `data-tab` names the form it belongs to */
export function canvas(root) {
  const { tab = "" } = root.dataset;
  const image = field(tab, "image", soon);
  const mask = field(tab, "mask", soon);
  const form = values(tab, soon);
  /** The picture on the canvas. @type {{ref: string, width: number, height: number}|null} */
  let picture = null;
  /** Its mask; null while there is nothing to draw on. @type {ReturnType<typeof drawing>|null} */
  let drawn = null;
  /** The mask of the picture before, until it is said what shall become of it. @type {ReturnType<typeof drawing>|null} */
  let parked = null;
  /** What is overlaid. @type {ReturnType<typeof pyramid>|null} */
  let seen = null;
  let seenInverted = false;
  /** Grows with whatever makes an answer of the server outdated. */
  let version = 0;
  /** Grows with the strokes alone; `sent` is the ref that the form has, of the strokes `sentStrokes`. */
  let strokes = 0;
  let sent = "";
  let sentStrokes = 0;
  /** What the form said when the overlay was asked for. */
  let asked = "";
  let opening = "";
  let timer = 0;
  /** @type {Promise<void>|null} */
  let sending = null;
  /** Masks from elsewhere that are on their way; nothing is painted until they are there. */
  let awaited = 0;
  /** The stroke under the hand, with the tool that it was begun with; null while the hand is lifted. @type {Under|null} */
  let under = null;

  const look = view({
    down(point, event) {
      if (!free()) return false;
      begin(point, event);
      return true;
    },
    move: goOn,
    up: finish,
    cancel: giveUp,
    hover: (point, event) => ring(point && event),
  });
  const { stage } = look;
  stage.setAttribute("aria-label", "Mask. Drag to paint over what is to be repainted; or move with the arrows, and press Enter to set the brush down and to lift it.");
  const lines = guides(look);
  const brush = h("div", { class: "po-c-ring", hidden: true });
  const empty = nothing("Choose a picture to paint into.");
  stage.append(lines.root, brush, empty);
  const ask = question(stage);
  const status = line();
  const peek = button("Hide the mask (hold H)", "eye", () => {}, { quiet: true, "aria-pressed": "false" });
  const box = tools({
    undo: () => act(() => drawn?.undo()),
    redo: () => act(() => drawn?.redo()),
    invert: () => form.toggle("invert"),
    clear: () => act(() => drawn?.add({ kind: "image", pixels: null })),
    transparency: () => awaiting(fromTransparency),
    upload: (file) => awaiting(() => upload(file)),
    download: () => awaiting(download),
    held: sample,
  });
  const stages = views(root, "Mask");
  root.append(stages.head, h("section", { class: "po-c", "aria-label": "Mask canvas" }, box.root, h("div", { class: "po-c-place" }, stage, lens(look, peek)), status.root));

  // --- the hand ---------------------------------------------------------------------------

  /** @param {Point} point @param {PointerEvent} event */
  function begin(point, event) {
    finish();
    const { tool, opacity, softness, away } = box.held;
    const penEnd = Boolean(event.buttons & 32);
    const erase = tool === "eraser" || penEnd || event.altKey || (away && isShape(tool));
    const last = at(point, event);
    under = { tool, erase, opacity, shape: [point.x, point.y], last };
    if (!isShape(tool)) edit(drawn?.add({ kind: "brush", erase, opacity, softness, points: [...last] }));
  }

  /** @param {Point} point @param {PointerEvent} event */
  function goOn(point, event) {
    if (!under) return;
    const { tool, shape } = under;
    under.last = at(point, event);
    if (!isShape(tool)) return edit(drawn?.extend(...under.last));
    under.shape = tool === "rectangle" ? [shape[0], shape[1], point.x, point.y] : [...shape, point.x, point.y];
    lines.shape(tool, under.shape);
  }

  function finish() {
    if (!under) return;
    const { tool, erase, opacity, shape, last } = under;
    lift();
    if (!isShape(tool)) edit(drawn?.extend(...last, true));
    else if (shape.length >= 4) edit(drawn?.add({ kind: tool, erase, opacity, points: shape }));
    changed();
  }

  function giveUp() {
    if (!under) return;
    const { tool } = under;
    lift();
    if (!isShape(tool)) edit(drawn?.drop());
    changed();
  }

  function lift() {
    under = null;
    lines.shape("", []);
  }

  /** @param {Point} point @param {PointerEvent} event @returns {[number, number, number]} x, y and radius */
  function at(point, event) {
    return [point.x, point.y, radius(event)];
  }

  /** A pen that feels pressure paints up to the brush's size. @param {PointerEvent} event */
  function radius(event) {
    const share = event.pointerType === "pen" && event.pressure > 0 ? 0.2 + 0.8 * event.pressure : 1;
    return (box.held.size * share) / 2;
  }

  function free() {
    return drawn !== null && !ask.open && !awaited;
  }

  /** Whatever is done to the mask, the stroke under the hand ends before. @param {() => Rect|undefined} work */
  function act(work) {
    if (!free()) return;
    finish();
    edit(work());
    changed();
  }

  /** @param {Rect|undefined} rect where bytes of the mask may have changed */
  function edit(rect) {
    if (!rect || !seen) return;
    strokes += 1;
    version += 1;
    seen.refresh(rect);
    draw(rect);
  }

  // --- what is seen -----------------------------------------------------------------------

  /** @param {Rect} [rect] of the picture; all of it */
  function draw(rect) {
    if (!picture || !seen || !stage.clientWidth) return;
    const { scale, x, y } = look.place;
    if (!rect) look.context.clearRect(0, 0, stage.clientWidth, stage.clientHeight);
    const part = rect ?? { left: 0, top: 0, right: picture.width, bottom: picture.height };
    // an edge lies beside what it goes round, and what is shown of one pixel may be of its neighbour
    tint(look.context, seen, look.place, {
      left: Math.max(0, Math.floor(x + part.left * scale) - 3),
      top: Math.max(0, Math.floor(y + part.top * scale) - 3),
      right: Math.min(stage.clientWidth, Math.ceil(x + part.right * scale) + 3),
      bottom: Math.min(stage.clientHeight, Math.ceil(y + part.bottom * scale) + 3),
    });
  }
  look.onmove(draw);

  /** The brush, as large as it is, under the pointer. @param {PointerEvent|null} event */
  function ring(event) {
    const shown = event && free() && !isShape(box.held.tool) && event.target === stage;
    clearTimeout(sampled);
    sampled = 0;
    stage.classList.toggle("po-c-bare", Boolean(shown));
    brush.hidden = !shown;
    if (!shown) return;
    const frame = stage.getBoundingClientRect();
    putRing(event.clientX - frame.left, event.clientY - frame.top);
  }

  /** While the size is set elsewhere, the brush is shown where it was or in the middle. */
  function sample() {
    if (isShape(box.held.tool) || !drawn) return void (brush.hidden = true);
    if (!brush.hidden && !sampled) return putRing(ringAt[0], ringAt[1]);
    clearTimeout(sampled);
    sampled = window.setTimeout(() => ((sampled = 0), (brush.hidden = true)), SAMPLE_MS);
    brush.hidden = false;
    putRing(stage.clientWidth / 2, stage.clientHeight / 2);
  }

  let sampled = 0;
  let ringAt = [0, 0];
  function putRing(/** @type {number} */ x, /** @type {number} */ y) {
    const across = Math.max(2, box.held.size * look.place.scale);
    ringAt = [x, y];
    brush.style.width = brush.style.height = `${across}px`;
    brush.style.transform = `translate(${x - across / 2}px, ${y - across / 2}px)`;
  }

  function hide(/** @type {boolean} */ hidden) {
    stage.classList.toggle("po-c-hidden", hidden);
    peek.setAttribute("aria-pressed", String(hidden));
  }
  peek.addEventListener("pointerdown", () => hide(true));
  for (const ending of ["pointerup", "pointerleave", "pointercancel", "blur", "keyup"]) peek.addEventListener(ending, () => hide(false));
  peek.addEventListener("keydown", (event) => (event.key === " " || event.key === "Enter") && hide(true));

  function settle() {
    const state = ask.open ? "asking" : opening ? "opening" : !drawn ? "empty" : timer || sending || awaited ? "pending" : "settled";
    root.dataset.state = state;
    empty.hidden = picture !== null || opening !== "";
    box.state({ canUndo: drawn?.canUndo ?? false, canRedo: drawn?.canRedo ?? false, inverted: Boolean(form.read().invert), enabled: free() });
  }

  // --- to the server and back -------------------------------------------------------------

  /** Strokes have changed: once the hand rests they are sent. */
  function changed() {
    clearTimeout(timer);
    timer = window.setTimeout(send, REST_MS);
    settle();
  }

  /** Sends the mask now, and shows it as the server will use it. */
  async function send() {
    clearTimeout(timer);
    timer = 0;
    const turn = (sending ?? Promise.resolve()).then(deliver).catch(tell);
    sending = turn;
    settle();
    await turn;
    if (sending === turn) sending = null;
    settle();
  }

  /** Leaves off as soon as something has changed: whatever changed it sends again. */
  async function deliver() {
    if (!picture || !drawn || ask.open) return;
    const now = version;
    const said = asSaid();
    asked = JSON.stringify(said);
    if (drawn.empty() && !said.invert) put("");
    else if (!sent || sentStrokes !== strokes) {
      const file = await writeGrey(drawn.pixels, picture.width, picture.height);
      if (now !== version) return;
      const { ref } = await api.upload(file);
      if (now !== version) return;
      put(ref);
    }
    await show(now, said);
  }

  /** @param {string} ref of the mask as it is drawn now */
  function put(ref) {
    sent = ref;
    sentStrokes = strokes;
    if (mask.value !== ref) mask.set(ref);
  }

  /** @param {number} now the version that is asked about @param {Record<string, any>} said */
  async function show(now, said) {
    if (!sent || !picture) {
      overlay(null, false);
      lines.box(null);
      return status.tell(UNTOUCHED);
    }
    try {
      const found = await api.mask({ image: picture.ref, mask: sent, ...said });
      const { pixels } = await readLastChannel(found.file);
      if (now !== version) return;
      const [left, top, right, bottom] = found.box;
      const part = said.area === "masked";
      overlay(pixels, said.invert);
      lines.box(part ? { left, top, right, bottom } : null);
      status.tell(`${percent(found.share)} is repainted · looks at ${part ? `${right - left} × ${bottom - top} px` : "the whole picture"}`);
    } catch (error) {
      if (now !== version) return;
      overlay(null, said.invert);
      lines.box(null);
      tell(error);
    }
  }

  /** @param {Uint8Array|null} pixels null shows nothing @param {boolean} inverted whether strokes take away from it */
  function overlay(pixels, inverted) {
    if (!seen || !picture) return;
    seenInverted = inverted;
    if (pixels) seen.levels[0].pixels.set(pixels);
    else seen.levels[0].pixels.fill(0);
    seen.refresh({ left: 0, top: 0, right: picture.width, bottom: picture.height });
    draw();
  }

  /** What the form says of the mask. @returns {Record<string, any>} */
  function asSaid() {
    const all = form.read();
    return Object.fromEntries(FIELDS.filter((name) => name in all).map((name) => [name, all[name]]));
  }

  /** @param {unknown} error */
  function tell(error) {
    if (error instanceof ApiError) status.tell(`${error.message} ${error.hint}`, "bad");
    else complain(error);
  }

  // --- the form has changed ---------------------------------------------------------------

  let planned = 0;
  function soon() {
    clearTimeout(planned);
    planned = window.setTimeout(follow);
  }

  function follow() {
    image.look();
    mask.look();
    if (image.value !== (opening || picture?.ref || "")) open(image.value);
    else if (!opening && drawn) {
      if (mask.value !== sent) load(mask.value);
      else if (JSON.stringify(asSaid()) !== asked) {
        version += 1;
        changed();
      }
    }
    settle();
  }

  /** Another picture. What was drawn over the one before is never kept without asking. @param {string} ref */
  async function open(ref) {
    const given = mask.value !== sent && mask.value !== "";
    if (picture) stages.turn("work");
    if (given) parked = null;
    else if (drawn && !drawn.empty()) parked = drawn;
    leave();
    if (!given) put("");
    if (!ref) return settle();
    opening = ref;
    settle();
    const size = await look.open(url.picture(ref)).catch(() => null);
    if (opening !== ref) return;
    opening = "";
    picture = { ref, width: 0, height: 0, ...size };
    settle();
    if (!size) return status.tell("This picture is gone. Choose another one.", "bad");
    seen = pyramid(new Uint8Array(size.width * size.height), size.width, size.height);
    const shown = seen.levels[0].pixels;
    drawn = drawing(size.width, size.height, (index, value) => (shown[index] = seenInverted ? 255 - value : value));
    const side = Math.min(size.width, size.height);
    if (box.held.size > side) box.resize(side / 6);
    status.measure(`${size.width} × ${size.height} px`);
    if (mask.value !== sent) return load(mask.value);
    if (parked) keepOrClear(parked);
    await send();
  }

  /** Nothing is on the canvas any more. */
  function leave() {
    lift();
    clearTimeout(timer);
    timer = 0;
    version += 1;
    opening = "";
    picture = drawn = seen = null;
    ask.close();
    look.close();
    lines.box(null);
    status.measure("");
    status.tell("");
  }

  /** @param {ReturnType<typeof drawing>} before */
  function keepOrClear(before) {
    const drop = () => {
      parked = null;
      send();
    };
    const [here, was] = [`${picture?.width} × ${picture?.height} px`, `${before.width} × ${before.height} px`];
    if (here !== was) ask.ask(`The mask is ${was} and this picture ${here}, so it cannot be kept.`, [["Clear the mask", drop]]);
    else {
      const keep = () => {
        parked = null;
        act(() => drawn?.add({ kind: "image", pixels: before.pixels }));
      };
      ask.ask("The picture has changed. Keep the mask?", [["Keep it", keep], ["Clear it", drop]]);
    }
    settle();
  }

  /** Takes over a mask that the server has put into the form. @param {string} ref */
  async function load(ref) {
    ask.close();
    parked = null;
    sent = ref;
    version += 1;
    const [onto, now] = [drawn, version];
    await awaiting(async () => {
      /** @type {unknown} */
      let problem = null;
      const pixels = ref ? await fetched(ref).catch((error) => ((problem = error), null)) : null;
      // a mask without anything in it means something where it is inverted
      const empty = problem !== null && asSaid().invert && (await fetched(ref, true).then(() => true, () => false));
      if (now !== version) return;
      onto?.load(pixels);
      strokes += 1;
      sentStrokes = strokes;
      if (!pixels && !empty) put("");
      await send();
      if (problem && !empty) tell(problem);
    });
  }

  /** Nothing is painted meanwhile. @param {() => Promise<(() => Rect|undefined)|void>} work gives what is to be done then */
  async function awaiting(work) {
    const onto = drawn;
    awaited += 1;
    settle();
    const then = await work().catch(tell);
    awaited -= 1;
    if (then && onto === drawn) act(then);
    settle();
  }

  /** A mask of the picture's size as it was drawn. Throws the server's sentence for any other, and for an empty one. @param {string} ref @param {boolean} [invert] */
  async function fetched(ref, invert = false) {
    const { file } = await api.mask({ image: picture?.ref, mask: ref, ...AS_DRAWN, invert });
    return (await readLastChannel(file)).pixels;
  }

  /** Another picture, from here. @param {string} ref */
  function use(ref) {
    image.set(ref);
    soon();
  }

  // --- the menu ---------------------------------------------------------------------------

  /** @param {Blob} file */
  async function upload(file) {
    const { ref } = await api.upload(file);
    const pixels = await fetched(ref);
    return () => drawn?.add({ kind: "image", pixels });
  }

  async function fromTransparency() {
    if (!picture) return;
    const { channels, pixels } = await readLastChannel(await api.picture(picture.ref));
    for (let i = 0; i < pixels.length; i++) pixels[i] = 255 - pixels[i];
    if (channels === 4 && !blank(pixels)) return () => drawn?.add({ kind: "image", pixels });
    status.tell("Nothing in this picture is transparent.", "bad");
  }

  async function download() {
    if (!picture || !drawn) return;
    const address = URL.createObjectURL(await writeGrey(drawn.pixels, picture.width, picture.height));
    h("a", { href: address, download: "mask.png" }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
  }

  // --- keys -------------------------------------------------------------------------------

  const keys = /** @type {Record<string, () => void>} */ ({
    b: () => box.take("brush"),
    e: () => box.take("eraser"),
    r: () => box.take("rectangle"),
    l: () => box.take("lasso"),
    "[": () => box.resize(Math.min(box.held.size - 1, box.held.size / 1.2)),
    "]": () => box.resize(Math.max(box.held.size + 1, box.held.size * 1.2)),
    x: () => form.toggle("invert"),
    h: () => hide(true),
    0: look.fit,
    "+": () => look.zoom(1.5),
    "=": () => look.zoom(1.5),
    "-": () => look.zoom(1 / 1.5),
    " ": () => look.grab(true),
  });

  /** The brush is moved with the arrows, and set down and lifted with Enter. @type {Point|null} */
  let steered = null;
  const ways = /** @type {Record<string, [number, number]>} */ ({ ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] });

  /** @param {KeyboardEvent} event @returns {boolean} whether it was one of these keys */
  function steer(event) {
    if (document.activeElement !== stage || !picture) return false;
    const pen = (steered ??= { x: picture.width / 2, y: picture.height / 2 });
    // a key has no buttons and no pressure: as a mouse
    const hand = /** @type {PointerEvent} */ (/** @type {unknown} */ (event));
    const way = ways[event.key];
    if (way) {
      const step = event.shiftKey ? 1 : Math.max(1, Math.round(box.held.size / 4));
      pen.x = Math.max(0, Math.min(picture.width, pen.x + way[0] * step));
      pen.y = Math.max(0, Math.min(picture.height, pen.y + way[1] * step));
      goOn(pen, hand);
    } else if (event.key === "Enter" && !event.ctrlKey && !event.metaKey) {
      if (under) finish();
      else begin(pen, hand);
    } else return false;
    brush.hidden = false;
    putRing(look.place.x + pen.x * look.place.scale, look.place.y + pen.y * look.place.scale);
    return true;
  }
  stage.addEventListener("blur", () => {
    if (steered) finish();
    steered = null;
    brush.hidden = true;
  });

  /** Whether the pointer came to the canvas after the focus went to where it is: then Space is not for a button. */
  let pointed = false;
  stage.addEventListener("pointermove", () => (pointed = true));
  document.addEventListener("focusin", () => (pointed = false));

  document.addEventListener("keydown", (event) => {
    if (!free() || !listens(root, stage)) return;
    const key = event.key.toLowerCase();
    const control = event.ctrlKey || event.metaKey;
    const pressesButton = key === " " && !pointed && document.activeElement?.closest("button, summary");
    if (control && (key === "z" || key === "y")) act(() => (key === "y" || event.shiftKey ? drawn?.redo() : drawn?.undo()));
    else if (!control && !event.altKey && !pressesButton && key in keys) keys[key]();
    else if (!steer(event)) return;
    event.preventDefault();
  });
  document.addEventListener("keyup", (event) => {
    if (event.key === " " && look.grabbing) {
      event.preventDefault();
      look.grab(false);
    }
    if (event.key.toLowerCase() === "h") hide(false);
  });
  window.addEventListener("blur", () => {
    look.grab(false);
    hide(false);
  });

  takesPictures(stage, use);

  const underway = () => Boolean(timer || sending) || (drawn !== null && strokes !== sentStrokes);

  // a mask that is still on its way is waited for; one that cannot be sent is not painted with
  document.addEventListener(
    "click",
    async (event) => {
      if (!underway() || !form.generate()?.contains(/** @type {Node} */ (event.target))) return;
      event.preventDefault();
      event.stopImmediatePropagation();
      await send();
      if (!underway()) setTimeout(() => form.generate()?.click(), TICK_MS);
    },
    true,
  );
  document.addEventListener("visibilitychange", () => document.hidden && timer && send());

  follow();
  return {
    /** @param {import("./live.js").Snapshot} snapshot */
    show(snapshot) {
      soon();
      stages.show(snapshot);
    },
  };
}

/** @param {string} tool @returns {tool is "rectangle"|"lasso"} whether it is drawn first and filled then */
function isShape(tool) {
  return tool === "rectangle" || tool === "lasso";
}

/** @param {number} share 0 … 1 */
function percent(share) {
  const shown = 100 * share;
  if (shown > 0 && shown < 0.1) return "Less than 0.1 %";
  return `${shown.toFixed(shown < 10 || shown > 99.9 ? 1 : 0).replace(/\.0$/, "")} %`;
}
