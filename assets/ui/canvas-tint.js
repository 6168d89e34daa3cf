/** How a mask looks over its picture: what is repainted is tinted, and an edge goes round all that changes. */

/** @typedef {import("./canvas-strokes.js").Rect} Rect */
/** @typedef {{scale: number, x: number, y: number}} Place where the picture's corner lies, and how long one of its pixels is, in CSS px */

const TINT = [226, 32, 84];
const TINT_ALPHA = 0.46;
/** Every so many px a lighter line, so that the tint shows on a picture of its own colour. */
const HATCH_PX = 9;
const HATCH = [255, 214, 224];
/** One line that is light inside and dark outside shows on every picture. */
const INNER_EDGE = rgba(255, 250, 244, 240);
const OUTER_EDGE = rgba(20, 16, 12, 170);
/** The colour of each byte of a mask. */
const COLOURS = shades(TINT);
const HATCH_COLOURS = shades(HATCH);

/**
 * The mask in ever halved sizes, each pixel the most of the four below it: a single masked pixel
 * stays in view however far one steps back.
 * @param {Uint8Array} pixels @param {number} width @param {number} height
 */
export function pyramid(pixels, width, height) {
  const levels = [{ pixels, width, height }];
  for (let [across, down] = [width, height]; across > 64 || down > 64; ) {
    [across, down] = [Math.ceil(across / 2), Math.ceil(down / 2)];
    levels.push({ pixels: new Uint8Array(across * down), width: across, height: down });
  }
  return {
    levels,
    /** @param {Rect} rect where the mask has changed */
    refresh(rect) {
      let { left, top, right, bottom } = rect;
      if (right <= left || bottom <= top) return;
      for (let i = 1; i < levels.length; i++) {
        const [fine, coarse] = [levels[i - 1], levels[i]];
        [left, top, right, bottom] = [left >> 1, top >> 1, Math.min(coarse.width, (right + 1) >> 1), Math.min(coarse.height, (bottom + 1) >> 1)];
        for (let y = top; y < bottom; y++) {
          const above = 2 * y * fine.width;
          const below = Math.min(2 * y + 1, fine.height - 1) * fine.width;
          for (let x = left; x < right; x++) {
            const one = 2 * x;
            const next = Math.min(one + 1, fine.width - 1);
            coarse.pixels[y * coarse.width + x] = Math.max(fine.pixels[above + one], fine.pixels[above + next], fine.pixels[below + one], fine.pixels[below + next]);
          }
        }
      }
    },
  };
}

/**
 * Draws a part of the mask as it is seen.
 * @param {CanvasRenderingContext2D} context a pixel for each CSS px
 * @param {ReturnType<typeof pyramid>} mask
 * @param {Place} place
 * @param {Rect} part of the context, in whole px
 */
export function tint(context, mask, place, part) {
  const [across, down] = [part.right - part.left, part.bottom - part.top];
  if (across <= 0 || down <= 0) return;
  const values = seen(mask, place, part);
  const picture = context.createImageData(across, down);
  const colours = new Uint32Array(picture.data.buffer);
  const stride = across + 2;
  // the lines stay on the picture when it is moved
  const offset = part.left + part.top - Math.round(place.x + place.y);
  for (let y = 0, to = 0; y < down; y++) {
    for (let x = 0, at = (y + 1) * stride + 1; x < across; x++, at++, to++) {
      const value = values[at];
      // outside of the picture neighbours count as empty, so that the edge goes all round
      if (value) {
        const inside = values[at - 1] && values[at + 1] && values[at - stride] && values[at + stride];
        colours[to] = inside ? ((x + y + offset) % HATCH_PX ? COLOURS : HATCH_COLOURS)[value] : INNER_EDGE;
      } else if (values[at - 1] || values[at + 1] || values[at - stride] || values[at + stride]) colours[to] = OUTER_EDGE;
    }
  }
  context.putImageData(picture, part.left, part.top);
}

/** The mask's bytes under each px of a part, and of one more px around it. */
function seen(/** @type {ReturnType<typeof pyramid>} */ mask, /** @type {Place} */ place, /** @type {Rect} */ part) {
  const level = Math.min(mask.levels.length - 1, Math.max(0, Math.ceil(Math.log2(1 / place.scale))));
  const { pixels, width, height } = mask.levels[level];
  const step = place.scale * 2 ** level;
  const [stride, rows] = [part.right - part.left + 2, part.bottom - part.top + 2];
  const columns = Int32Array.from({ length: stride }, (_, x) => {
    const column = Math.floor((part.left - 1 + x + 0.5 - place.x) / step);
    return column < width ? column : -1;
  });
  const values = new Uint8Array(stride * rows);
  for (let y = 0; y < rows; y++) {
    const row = Math.floor((part.top - 1 + y + 0.5 - place.y) / step);
    if (row < 0 || row >= height) continue;
    for (let x = 0; x < stride; x++) if (columns[x] >= 0) values[y * stride + x] = pixels[row * width + columns[x]];
  }
  return values;
}

/** @param {number[]} colour */
function shades(colour) {
  return Uint32Array.from({ length: 256 }, (_, value) => rgba(colour[0], colour[1], colour[2], Math.round(TINT_ALPHA * value)));
}

/** Bytes in the order that ImageData has them on the machines there are: the lowest first. */
function rgba(/** @type {number} */ red, /** @type {number} */ green, /** @type {number} */ blue, /** @type {number} */ alpha) {
  return ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}
