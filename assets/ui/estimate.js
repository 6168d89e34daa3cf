/** What the form as it stands would take, beside the button that asks for it. */

import { api } from "./api.js";
import { h, say } from "./dom.js";

const PAUSE_MS = 300;

/** @param {HTMLElement} root */
export function estimate(root) {
  const { tab = "" } = root.dataset;
  const words = h("span", {});
  const more = h("span", { class: "po-estimate-more" });
  // read with the button, not each time a slider moves
  const line = h("p", { class: "po-estimate", id: `${tab}-estimate-words`, "aria-live": "off" }, words, more);
  root.append(line);
  /** @type {MutationObserver|null} */
  let watching = null;
  let timer = 0;
  let version = -1;
  let shown = "";

  function place() {
    return document.getElementById(`${tab}-asked`);
  }

  /** The server writes here what the form asks for, see `wanted` in studio/ui/shell.py. */
  function asked() {
    return /** @type {HTMLElement|null} */ (place()?.querySelector("[data-ask]"))?.dataset ?? {};
  }

  async function look() {
    const { ask: question = "", times = "1" } = asked();
    if (!question) return tell("", "", 1), measure(null);
    try {
      const told = await api.estimate(JSON.parse(question));
      if (question !== asked().ask) return;
      shown = question;
      measure(told.size);
      if (told.refused) tell("", told.refused.message, 1);
      else tell(told.words, told.changes.length ? `To fit: ${told.changes.join(" ")}` : "", Number(times));
      line.toggleAttribute("data-refused", Boolean(told.refused));
    } catch {
      // what is wrong with the form is said when it is sent
      if (question !== shown) tell("", "", 1), measure(null);
    }
  }

  /** @param {string} text @param {string} detail @param {number} times */
  function tell(text, detail, times) {
    say(words, text && times > 1 ? `${times} × (${text})` : text);
    say(more, detail);
  }

  /** A size that only the request decides, where the form has none to show. @param {[number|null, number|null]|null} size px */
  function measure(size) {
    const place = /** @type {HTMLElement|null} */ (document.querySelector(`#${tab}-pixels [data-unknown]`));
    const [width, height] = size ?? [];
    if (place) say(place, width && height ? `painted at ${width} × ${height} px` : place.dataset.unknown ?? "");
  }

  function soon() {
    clearTimeout(timer);
    timer = window.setTimeout(look, PAUSE_MS);
  }

  return {
    /** @param {import("./live.js").Snapshot} snapshot */
    show(snapshot) {
      const home = place();
      if (!watching && home) {
        watching = new MutationObserver(soon);
        watching.observe(home, { childList: true, subtree: true, attributes: true });
        document.getElementById(`${tab}-generate`)?.setAttribute("aria-describedby", line.id);
        soon();
      }
      // a job that ended has taught something, and may have left its checkpoint in memory
      if (snapshot.version === version || snapshot.jobs.length) return;
      version = snapshot.version;
      soon();
    },
  };
}
