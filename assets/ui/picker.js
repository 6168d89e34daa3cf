/** Below the list of checkpoints: what the chosen one is, where it is now, and whether it stays. */

import { api } from "./api.js";
import { button, h, say } from "./dom.js";
import { bytes } from "./format.js";
import { away, memory, openMemory, pinned } from "./memory.js";
import { current } from "./tokens.js";

/** @param {HTMLElement} root */
export function picker(root) {
  const { tab = "" } = root.dataset;
  const words = h("span", { class: "po-picker-words" });
  const dot = h("i", { class: "po-where", "aria-hidden": "true" });
  const pin = button("Keep in memory", "pin", () => row && pinned(row, !row.pinned), { quiet: true, id: `${tab}-pin` });
  const open = button("All checkpoints", null, openMemory, { class: "po-link" });
  const line = h("div", { class: "po-picker", role: "group", "aria-label": "The chosen checkpoint", hidden: true }, dot, words, pin, open);
  root.append(line);
  /** @type {import("./memory.js").Row|null} */
  let row = null;

  async function draw() {
    const id = await current(tab);
    const { checkpoints } = await api.choices();
    const about = checkpoints.find((/** @type {any} */ one) => one.id === id);
    line.hidden = !about;
    if (!about) return;
    row = memory.known?.checkpoints.find((/** @type {any} */ one) => one.id === id) ?? null;
    line.dataset.where = row?.where ?? "";
    say(words, [about.family_label, bytes(about.size_bytes), row && away(row)].filter(Boolean).join(" · "));
    pin.hidden = open.hidden = dot.hidden = !row;
    pin.setAttribute("aria-pressed", String(Boolean(row?.pinned)));
    pin.title = row?.pinned ? "Kept in memory: let it go when room is needed" : "Keep in memory";
  }

  memory.watch(draw);
  const zone = /** @type {HTMLElement} */ (root.closest(".workplace"));
  // the list writes its label after its own event
  const soon = () => setTimeout(draw, 120);
  zone.addEventListener("input", soon);
  zone.addEventListener("focusout", soon);
  draw();
  return { show: soon };
}
