/** Files that a person drags over the page. */

/** What the studio reads. */
export const PICTURES = ["image/png", "image/jpeg", "image/webp"];

/** @param {DataTransfer|null} data */
export function carries(data) {
  return Boolean(data?.types.includes("Files"));
}

/** A file dropped beside the places for it must not make the browser leave the page. */
export function keepPage() {
  for (const kind of ["dragover", "drop"]) document.addEventListener(kind, (event) => carries(/** @type {DragEvent} */ (event).dataTransfer) && event.preventDefault());
}
