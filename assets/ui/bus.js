/** What modules tell each other without knowing each other. */

const target = new EventTarget();

/** @param {string} name @param {any} [detail] */
export function tell(name, detail) {
  target.dispatchEvent(new CustomEvent(name, { detail }));
}

/** @param {string} name @param {(detail: any) => void} listener */
export function hear(name, listener) {
  target.addEventListener(name, (event) => listener(/** @type {CustomEvent} */ (event).detail));
}
