/** A picture on its way to the studio; one larger than the studio takes is made smaller here, and said. */

import { api } from "./api.js";
import { size } from "./format.js";
import { toast } from "./toasts.js";

const MOST_BYTES = 32 << 20;
/** Of a file that the studio takes, as `studio/core/intake.py` says; many more are not worth sending. */
const DRAWN_PIXELS = 1 << 24;
/** What every browser can draw; phones have no larger canvas. */
const LONGEST_SIDE_PX = 8192;
const QUALITY = 0.95;

/** @param {Blob} file @returns {Promise<{ref: string}>} */
export async function upload(file) {
  if (file.size > MOST_BYTES) return smaller(file, null);
  try {
    return await api.upload(file);
  } catch (error) {
    if (/** @type {any} */ (error).status !== 413) throw error;
    return smaller(file, error);
  }
}

/** @param {Blob} file @param {unknown} refusal what the studio said of the file as it is */
async function smaller(file, refusal) {
  const whole = await createImageBitmap(file).catch(() => null);
  let scale = whole ? Math.min(1, Math.sqrt(DRAWN_PIXELS / (whole.width * whole.height)), LONGEST_SIDE_PX / Math.max(whole.width, whole.height)) : 1;
  // small enough already: something else is wrong
  if (refusal && scale === 1) throw refusal;
  if (!whole) return api.upload(file);
  const kind = file.type === "image/jpeg" ? "image/jpeg" : "image/webp";
  let made = await drawn(whole, scale, kind);
  // a browser that cannot write WebP writes PNG, which may still be large
  while (made.blob.size > MOST_BYTES) made = await drawn(whole, (scale *= 0.7), kind);
  whole.close();
  const kept = await api.upload(made.blob);
  toast(`The picture is larger than the studio takes. It is used at ${size(made)}.`);
  return kept;
}

/** @param {ImageBitmap} whole @param {number} scale @param {string} kind @returns {Promise<{width: number, height: number, blob: Blob}>} */
async function drawn(whole, scale, kind) {
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.floor(whole.width * scale));
  canvas.height = Math.max(1, Math.floor(whole.height * scale));
  const pen = canvas.getContext("2d");
  if (pen) pen.imageSmoothingQuality = "high";
  pen?.drawImage(whole, 0, 0, canvas.width, canvas.height);
  const blob = await new Promise((done) => canvas.toBlob(done, kind, QUALITY));
  if (!blob) throw new Error("The browser cannot draw this picture.");
  return { width: canvas.width, height: canvas.height, blob };
}
