/** The values of a form that a canvas must know, beside its pictures: for those see field.js. */

/**
 * What stands in the controls is true. The server tells the same as JSON in a readout, see
 * studio/ui/widgets/canvas.py: when to look, and what those hold that are folded away.
 * @param {string} tab
 * @param {() => void} changed
 */
export function values(tab, changed) {
  const readout = document.getElementById(`${tab}-values`);
  if (readout) new MutationObserver(changed).observe(readout, { childList: true, subtree: true, attributes: true });
  const place = (/** @type {string} */ name) => document.getElementById(`${tab}-${name.replaceAll("_", "-")}`);
  const told = () => {
    const said = readout?.querySelector("[data-values]");
    return JSON.parse(said instanceof HTMLElement ? said.dataset.values ?? "{}" : "{}");
  };
  for (const kind of ["input", "change"]) {
    document.addEventListener(kind, ({ target }) => {
      if (Object.keys(told()).some((name) => place(name)?.contains(/** @type {Node} */ (target)))) changed();
    });
  }
  return {
    /** @returns {Record<string, any>} by the names of the request's fields */
    read() {
      const said = told();
      for (const name of Object.keys(said)) said[name] = shown(place(name)) ?? said[name];
      return said;
    },
    /** @param {string} name of a tick box */
    toggle: (name) => place(name)?.querySelector("input")?.click(),
    /** As if it had been typed. @param {string} name @param {number} value */
    type(name, value) {
      const field = place(name)?.querySelector("input");
      if (!field || field.value === String(value)) return;
      Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value")?.set?.call(field, String(value));
      for (const kind of ["input", "change"]) field.dispatchEvent(new Event(kind, { bubbles: true }));
    },
    generate: () => place("generate"),
  };
}

/** What a control of Gradio's holds; undefined if that cannot be seen. @param {HTMLElement|null} control */
function shown(control) {
  const number = /** @type {HTMLInputElement|null|undefined} */ (control?.querySelector("input[type=number]"));
  if (number) return number.value === "" ? undefined : Number(number.value);
  const tick = /** @type {HTMLInputElement|null|undefined} */ (control?.querySelector("input[type=checkbox]"));
  if (tick) return tick.checked;
  return /** @type {HTMLInputElement|null|undefined} */ (control?.querySelector("input[type=radio]:checked"))?.value;
}
