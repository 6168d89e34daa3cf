/** A picture on its way to the studio; one larger than the studio takes is made smaller here, and said. */

import { api } from "./api.js";
import { size } from "./format.js";
import { toast } from "./toasts.js";

/** What `studio/core/intake.py` takes. */
const MOST_BYTES = 32 << 20;
const MOST_PIXELS = 40e6;
const LONGEST_SIDE_PX = 8192;
const QUALITY = 0.95;

/** @param {Blob} file @returns {Promise<{ref: string}>} */
export async function upload(file) {
  try {
    return await api.upload(file);
  } catch (error) {
    const smaller = /** @type {any} */ (error).status === 413 ? await fitting(file) : null;
    if (!smaller) throw error;
    const made = await api.upload(smaller.blob);
    toast(`The picture is larger than the studio takes. It is used at ${size(smaller)}.`);
    return made;
  }
}

/** The picture as large as the studio takes; null where that is not what is wrong with it. @param {Blob} file */
async function fitting(file) {
  const whole = await createImageBitmap(file).catch(() => null);
  if (!whole) return null;
  const scale = Math.min(1, Math.sqrt(MOST_PIXELS / (whole.width * whole.height)), LONGEST_SIDE_PX / Math.max(whole.width, whole.height));
  if (scale === 1 && file.size <= MOST_BYTES) return null;
  const width = Math.max(1, Math.floor(whole.width * scale));
  const height = Math.max(1, Math.floor(whole.height * scale));
  const canvas = new OffscreenCanvas(width, height);
  const pen = canvas.getContext("2d");
  if (!pen) return null;
  pen.imageSmoothingQuality = "high";
  pen.drawImage(whole, 0, 0, width, height);
  whole.close();
  return { width, height, blob: await canvas.convertToBlob({ type: "image/webp", quality: QUALITY }) };
}
