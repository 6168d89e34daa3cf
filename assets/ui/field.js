/**
 * A value of a form that a script shows in its own way: a hidden text box of Gradio's, see `held` in
 * studio/ui/widgets/slots.py.
 */

/**
 * @param {string} tab
 * @param {string} name
 * @param {(value: string) => void} changed the server wrote another value: a draft, another picture's settings
 */
export function field(tab, name, changed) {
  let known = "";
  const box = () => /** @type {HTMLTextAreaElement|HTMLInputElement|null} */ (document.querySelector(`#${tab}-${name} :is(textarea, input)`));

  /** What stands in the text box is true; the readout only tells when to look. */
  function look() {
    const now = box()?.value ?? known;
    if (now === known) return;
    known = now;
    changed(now);
  }

  /** Two frames later Gradio has written everything that came with the same answer. */
  const soon = () => requestAnimationFrame(() => requestAnimationFrame(look));
  const readout = document.getElementById(`${tab}-${name}-seen`);
  soon();
  if (readout) new MutationObserver(soon).observe(readout, { childList: true, subtree: true, attributes: true, characterData: true });

  return {
    get value() {
      return known;
    },
    /** Tells the form, as if it had been typed. @param {string} value */
    set(value) {
      known = value;
      const place = box();
      if (!place) return;
      const kind = place instanceof HTMLTextAreaElement ? HTMLTextAreaElement : HTMLInputElement;
      Object.getOwnPropertyDescriptor(kind.prototype, "value")?.set?.call(place, value);
      place.dispatchEvent(new Event("input", { bubbles: true }));
      // Gradio takes the text over in its next tick
      setTimeout(() => document.getElementById(`${tab}-${name}-given`)?.click(), 30);
    },
    look,
  };
}
