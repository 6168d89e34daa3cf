/** Photographs: taken by a machine that is held in the hand with its own app, by others in the page. */

import { ApiError } from "./api.js";
import { HELD } from "./device.js";
import { button, h } from "./dom.js";
import { complain } from "./toasts.js";

/** As near to it as the camera can; the studio takes no more than 8192 px a side. */
const WANTED_PX = { width: { ideal: 4096 }, height: { ideal: 4096 } };
const QUALITY = 0.95;

/** What stands in the way, in words, by the name that the browser has for it. */
const REASONS = /** @type {Record<string, [string, string]>} */ ({
  NotAllowedError: ["The browser does not let this page use the camera.", "Allow it in the address bar, and try again."],
  NotFoundError: ["There is no camera.", "Connect one, or choose a picture."],
  NotReadableError: ["The camera is in use by something else.", "Close that, and try again."],
});

/** Whether the browser lends its camera: only to pages over https or of this machine. */
const LENT = Boolean(navigator.mediaDevices?.getUserMedia);

/**
 * A place for pictures that takes photographs, too: `button` makes what they are asked for with, and
 * `input` goes anywhere beside it; null where there is no camera.
 * @param {(photo: File) => void} taken
 */
export function camera(taken) {
  if (!HELD && !LENT) return null;
  const input = /** @type {HTMLInputElement} */ (h("input", { type: "file", accept: "image/*", capture: "environment", class: "po-sr", tabindex: "-1", "aria-hidden": "true" }));
  input.addEventListener("change", () => {
    if (input.files?.[0]) taken(input.files[0]);
    input.value = "";
  });
  const ask = () => (HELD ? input.click() : photograph().then((photo) => photo && taken(photo)));
  return { input, button: (/** @type {Record<string, any>} */ props = {}) => button("Take a photo", "camera", ask, props) };
}

/** Shows what the camera sees until a photograph is taken. @returns {Promise<File|null>} null if it is given up */
async function photograph() {
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", ...WANTED_PX } });
    return await taken(stream).finally(() => stream.getTracks().forEach((track) => track.stop()));
  } catch (error) {
    const reason = error instanceof DOMException && REASONS[error.name];
    complain(reason ? new ApiError(0, ...reason) : error);
    return null;
  }
}

/** @param {MediaStream} stream @returns {Promise<File|null>} */
function taken(stream) {
  return new Promise((answer, failed) => {
    const sight = /** @type {HTMLVideoElement} */ (h("video", { muted: true, playsinline: true, "aria-label": "What the camera sees" }));
    const shoot = button("Take the photo", "camera", () => dialog.close("taken"), { class: "po-button po-primary", disabled: true, autofocus: true });
    const row = h("div", { class: "po-ask-row" }, button("Cancel", null, () => dialog.close()), shoot);
    const dialog = /** @type {HTMLDialogElement} */ (h("dialog", { class: "po-ask po-sight", "aria-label": "Camera" }, sight, row));
    sight.addEventListener("playing", () => shoot.removeAttribute("disabled"));
    dialog.addEventListener("close", () => {
      if (dialog.returnValue === "taken") still(sight).then(answer, failed);
      else answer(null);
      dialog.remove();
    });
    document.body.append(dialog);
    dialog.showModal();
    sight.srcObject = stream;
    sight.play().catch((error) => {
      failed(error);
      dialog.close();
    });
  });
}

/** @param {HTMLVideoElement} sight @returns {Promise<File|null>} */
function still(sight) {
  const sheet = /** @type {HTMLCanvasElement} */ (h("canvas", { width: sight.videoWidth, height: sight.videoHeight }));
  sheet.getContext("2d")?.drawImage(sight, 0, 0);
  return new Promise((done) => sheet.toBlob((blob) => done(blob && new File([blob], "photo.jpg", { type: blob.type })), "image/jpeg", QUALITY));
}
