/**
 * A mask and the strokes that made it. A byte a pixel, as everywhere in the studio: 255 is
 * repainted, 0 stays. They lie in an array and not in a canvas: browsers refuse canvases of 40
 * megapixels, and some add noise to what is read back from one, which would repaint what nobody masked.
 *
 * A stroke lightens up to its opacity, an eraser darkens down to it: going over a place twice does
 * not add up. So each pixel depends on the strokes alone, and any part can be painted again by itself.
 */

/**
 * Pixels of the picture; `right` and `bottom` are the first ones outside.
 * @typedef {{left: number, top: number, right: number, bottom: number}} Rect
 * @typedef {{kind: "brush", erase: boolean, opacity: number, softness: number, points: number[]}} Brushed
 *   opacity and softness 0 … 1; `points` are x, y, radius in turn
 * @typedef {{kind: "rectangle", erase: boolean, opacity: number, points: number[]}} Rectangle two corners
 * @typedef {{kind: "lasso", erase: boolean, opacity: number, points: number[]}} Lasso x, y in turn; closes itself
 * @typedef {{kind: "image", pixels: Uint8Array|null}} Whole a mask in place of what was there; null is empty
 * @typedef {Brushed|Rectangle|Lasso|Whole} Stroke
 */

/** Strokes that can be taken back; older ones become the ground that the others are painted on. */
const MOST_STROKES = 100;
/** Points closer to the last one than this share of the radius do not change how a stroke looks. */
const LEAST_STEP = 0.12;

/**
 * @param {number} width
 * @param {number} height
 * @param {(index: number, value: number) => void} echo told of every byte that changes
 */
export function drawing(width, height, echo) {
  const pixels = new Uint8Array(width * height);
  const all = { left: 0, top: 0, right: width, bottom: height };
  /** @type {Uint8Array|null} */
  let ground = null;
  /** @type {Stroke[]} */
  let strokes = [];
  /** @type {Stroke[]} */
  let undone = [];
  /** What could come again before the last stroke was begun. @type {Stroke[]} */
  let undoneBefore = [];

  /** @param {Rect} rect @param {() => void} work @returns {Rect} */
  function change(rect, work) {
    const before = cut(pixels, width, rect);
    work();
    const across = rect.right - rect.left;
    for (let y = rect.top; y < rect.bottom; y++) {
      let at = y * width + rect.left;
      let was = (y - rect.top) * across;
      for (const end = was + across; was < end; was++, at++) if (before[was] !== pixels[at]) echo(at, pixels[at]);
    }
    return rect;
  }

  /** Paints a part anew from all strokes. @param {Rect} rect */
  function again(rect) {
    return change(rect, () => {
      const whole = strokes.findLastIndex((stroke) => stroke.kind === "image");
      if (whole < 0) copyRect(ground, pixels, width, rect);
      for (const stroke of strokes.slice(Math.max(0, whole))) paint(pixels, width, meet(rect, reach(stroke, all)), stroke);
    });
  }

  /** @param {Stroke} stroke */
  function keep(stroke) {
    strokes.push(stroke);
    undoneBefore = undone;
    undone = [];
    if (strokes.length <= MOST_STROKES) return;
    ground ??= new Uint8Array(width * height);
    const oldest = /** @type {Stroke} */ (strokes.shift());
    paint(ground, width, reach(oldest, all), oldest);
  }

  /** @param {Stroke} stroke */
  function put(stroke) {
    const rect = reach(stroke, all);
    return change(rect, () => paint(pixels, width, rect, stroke));
  }

  return {
    width,
    height,
    pixels,
    get canUndo() {
      return strokes.length > 0;
    },
    get canRedo() {
      return undone.length > 0;
    },
    /** @param {Stroke} stroke @returns {Rect} what may have changed, as all of these give it */
    add(stroke) {
      keep(stroke);
      return put(stroke);
    },
    /** Lengthens the last stroke, which is a brush's. @param {number} x @param {number} y @param {number} radius @param {boolean} [last] */
    extend(x, y, radius, last = false) {
      const stroke = strokes[strokes.length - 1];
      if (stroke?.kind !== "brush") return none();
      const { points } = stroke;
      const [fromX, fromY, fromRadius] = points.slice(-3);
      const far = Math.hypot(x - fromX, y - fromY) >= Math.max(0.25, LEAST_STEP * radius) || Math.abs(radius - fromRadius) > 1;
      if (!far && !(last && (x !== fromX || y !== fromY))) return none();
      points.push(x, y, radius);
      return put({ ...stroke, points: points.slice(-6) });
    },
    undo() {
      const stroke = strokes.pop();
      if (!stroke) return none();
      undone.push(stroke);
      return again(reach(stroke, all));
    },
    redo() {
      const stroke = undone.pop();
      if (!stroke) return none();
      strokes.push(stroke);
      return put(stroke);
    },
    /** Takes the last stroke back as if it had never been begun. */
    drop() {
      const stroke = strokes.pop();
      undone = undoneBefore;
      return stroke ? again(reach(stroke, all)) : none();
    },
    /** A mask from elsewhere that cannot be undone; null is empty. @param {Uint8Array|null} mask */
    load(mask) {
      ground = mask;
      strokes = [];
      undone = [];
      return again(all);
    },
    empty: () => blank(pixels),
  };
}

/** @returns {Rect} */
export function none() {
  return { left: 0, top: 0, right: 0, bottom: 0 };
}

/** @param {Rect} one @param {Rect} other @returns {Rect} what both cover */
export function meet(one, other) {
  const left = Math.max(one.left, other.left);
  const top = Math.max(one.top, other.top);
  return { left, top, right: Math.max(left, Math.min(one.right, other.right)), bottom: Math.max(top, Math.min(one.bottom, other.bottom)) };
}

/** Where a stroke can change anything. @param {Stroke} stroke @param {Rect} all */
export function reach(stroke, all) {
  if (stroke.kind === "image") return all;
  const step = stroke.kind === "brush" ? 3 : 2;
  const found = { left: Infinity, top: Infinity, right: -Infinity, bottom: -Infinity };
  for (let i = 0; i < stroke.points.length; i += step) {
    const [x, y] = [stroke.points[i], stroke.points[i + 1]];
    const margin = step === 3 ? stroke.points[i + 2] + 1 : 1;
    found.left = Math.min(found.left, Math.floor(x - margin));
    found.top = Math.min(found.top, Math.floor(y - margin));
    found.right = Math.max(found.right, Math.ceil(x + margin));
    found.bottom = Math.max(found.bottom, Math.ceil(y + margin));
  }
  return meet(found, all);
}

/** @param {Uint8Array} pixels @param {number} width @param {Rect} clip @param {Stroke} stroke */
export function paint(pixels, width, clip, stroke) {
  if (stroke.kind === "image") return copyRect(stroke.pixels, pixels, width, clip);
  const level = Math.round(255 * stroke.opacity);
  if (stroke.kind === "rectangle") return paintRectangle(pixels, width, clip, stroke, level);
  if (stroke.kind === "lasso") return paintLasso(pixels, width, clip, stroke, level);
  const { points } = stroke;
  paintSegment(pixels, width, clip, stroke, level, [...points.slice(0, 3), ...points.slice(0, 3)]);
  for (let i = 3; i < points.length; i += 3) paintSegment(pixels, width, clip, stroke, level, points.slice(i - 3, i + 3));
}

/**
 * All that is near a line, whose radius goes evenly from one end's to the other's.
 * @param {Uint8Array} pixels @param {number} width @param {Rect} clip @param {Brushed} stroke @param {number} level
 * @param {number[]} ends
 */
function paintSegment(pixels, width, clip, { erase, softness }, level, [ax, ay, ar, bx, by, br]) {
  const dx = bx - ax;
  const dy = by - ay;
  const long = dx * dx + dy * dy;
  const most = Math.max(ar, br) + 0.5;
  const top = Math.max(clip.top, Math.floor(Math.min(ay, by) - most));
  const bottom = Math.min(clip.bottom, Math.ceil(Math.max(ay, by) + most) + 1);
  for (let row = top; row < bottom; row++) {
    const y = row + 0.5;
    // the part of the line that this row can be near to
    let near = 0;
    let far = 1;
    if (dy !== 0) {
      const [one, other] = [(y - most - ay) / dy, (y + most - ay) / dy];
      near = Math.max(0, Math.min(one, other));
      far = Math.min(1, Math.max(one, other));
      if (near > far) continue;
    }
    const left = Math.max(clip.left, Math.floor(ax + Math.min(near * dx, far * dx) - most));
    const right = Math.min(clip.right, Math.ceil(ax + Math.max(near * dx, far * dx) + most) + 1);
    let at = row * width + left;
    for (let column = left; column < right; column++, at++) {
      const x = column + 0.5;
      const along = long ? Math.min(1, Math.max(0, ((x - ax) * dx + (y - ay) * dy) / long)) : 0;
      const offX = x - ax - along * dx;
      const offY = y - ay - along * dy;
      const radius = ar + along * (br - ar);
      const distance = offX * offX + offY * offY;
      if (distance >= (radius + 0.5) * (radius + 0.5)) continue;
      const edge = Math.max(1, softness * radius);
      const inner = radius + 0.5 - edge;
      let share = 1;
      if (inner < 0 || distance > inner * inner) {
        share = Math.min(1, (radius + 0.5 - Math.sqrt(distance)) / edge);
        if (softness > 0) share *= share * (3 - 2 * share);
      }
      const value = Math.round(level * share);
      if (erase) {
        if (pixels[at] > 255 - value) pixels[at] = 255 - value;
      } else if (pixels[at] < value) pixels[at] = value;
    }
  }
}

/** @param {Uint8Array} pixels @param {number} width @param {Rect} clip @param {Rectangle} stroke @param {number} level */
function paintRectangle(pixels, width, clip, { erase, points: [ax, ay, bx, by] }, level) {
  const rect = meet(clip, {
    left: Math.round(Math.min(ax, bx)),
    top: Math.round(Math.min(ay, by)),
    right: Math.round(Math.max(ax, bx)),
    bottom: Math.round(Math.max(ay, by)),
  });
  for (let y = rect.top; y < rect.bottom; y++) span(pixels, y * width + rect.left, y * width + rect.right, erase, level);
}

/**
 * What the line goes around, however often it crosses itself.
 * @param {Uint8Array} pixels @param {number} width @param {Rect} clip @param {Lasso} stroke @param {number} level
 */
function paintLasso(pixels, width, clip, { erase, points }, level) {
  for (let row = clip.top; row < clip.bottom; row++) {
    const y = row + 0.5;
    /** @type {[number, number][]} where the line crosses this row, and whether downwards */
    const crossings = [];
    for (let i = 0; i < points.length; i += 2) {
      const [ax, ay] = [points[i], points[i + 1]];
      const [bx, by] = i + 2 < points.length ? [points[i + 2], points[i + 3]] : [points[0], points[1]];
      if (ay <= y !== by <= y) crossings.push([ax + ((y - ay) / (by - ay)) * (bx - ax), by > ay ? 1 : -1]);
    }
    crossings.sort(([one], [other]) => one - other);
    let turns = 0;
    crossings.forEach(([x, turn], i) => {
      turns += turn;
      if (turns === 0) return;
      const from = Math.max(clip.left, Math.round(x));
      const to = Math.min(clip.right, Math.round(crossings[i + 1]?.[0] ?? x));
      if (from < to) span(pixels, row * width + from, row * width + to, erase, level);
    });
  }
}

/** @param {Uint8Array} pixels @param {number} from @param {number} to @param {boolean} erase @param {number} level */
function span(pixels, from, to, erase, level) {
  for (let at = from; at < to; at++) pixels[at] = erase ? Math.min(pixels[at], 255 - level) : Math.max(pixels[at], level);
}

/** @param {Uint8Array} pixels @param {number} width @param {Rect} rect */
function cut(pixels, width, { left, top, right, bottom }) {
  const part = new Uint8Array(Math.max(0, right - left) * Math.max(0, bottom - top));
  for (let y = top; y < bottom; y++) part.set(pixels.subarray(y * width + left, y * width + right), (y - top) * (right - left));
  return part;
}

/** @param {Uint8Array|null} from null is empty @param {Uint8Array} to @param {number} width @param {Rect} rect */
function copyRect(from, to, width, { left, top, right, bottom }) {
  for (let y = top; y < bottom; y++) {
    if (from) to.set(from.subarray(y * width + left, y * width + right), y * width + left);
    else to.fill(0, y * width + left, y * width + right);
  }
}

/** Whether every byte is 0. @param {Uint8Array} pixels */
export function blank(pixels) {
  const words = new Uint32Array(pixels.buffer, pixels.byteOffset, pixels.length >> 2);
  for (let i = 0; i < words.length; i++) if (words[i]) return false;
  for (let i = words.length << 2; i < pixels.length; i++) if (pixels[i]) return false;
  return true;
}
