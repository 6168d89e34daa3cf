/**
 * The part of the page that moves. Gradio draws the forms; these modules draw into the places that
 * studio/ui/widgets/mounts.py left for them. State flows one way: a snapshot comes in, it is shown.
 */

import { bar } from "./bar.js";
import { drop } from "./drop.js";
import { gallery } from "./gallery.js";
import { keys } from "./keys.js";
import { follow } from "./live.js";
import { panel } from "./panel.js";
import { queue } from "./queue.js";
import { strip } from "./strip.js";
import { keepTheme } from "./theme.js";
import { keepToasts } from "./toasts.js";
import { tokens } from "./tokens.js";
import { hear } from "./bus.js";

/**
 * Gradio draws the page after this file has run, and a tab when it is first opened.
 * @typedef {{show?: (snapshot: import("./live.js").Snapshot) => void}} Part
 * @type {Record<string, (root: HTMLElement) => Part|void>}
 */
const makers = {
  bar: (root) => (top = bar(root)),
  panel,
  queue,
  strip,
  gallery,
  "prompt-tools": (root) => {
    drop(root);
    counter = tokens(root, "#prompt textarea");
  },
};

/** @type {ReturnType<typeof bar>|undefined} */
let top;
/** @type {ReturnType<typeof tokens>|undefined} */
let counter;
/** @type {import("./live.js").Snapshot|undefined} */
let latest;
/** @type {Map<HTMLElement, Part|void>} */
const parts = new Map();

/** Draws into each place that has appeared, and forgets those that have gone. */
function settle() {
  for (const root of parts.keys()) if (!root.isConnected) parts.delete(root);
  for (const [name, make] of Object.entries(makers)) {
    const root = document.getElementById(`po-${name}`);
    if (!root || parts.has(root)) continue;
    const part = make(root);
    parts.set(root, part);
    if (latest) part?.show?.(latest);
  }
}

document.documentElement.lang = "en";
keepTheme();
keepToasts();
keys();
settle();
new MutationObserver(settle).observe(document.body, { childList: true, subtree: true });

const live = follow(
  (snapshot) => {
    latest = snapshot;
    for (const part of parts.values()) part?.show?.(snapshot);
    document.body.dataset.pochade = "ready";
  },
  (reachable) => reachable || top?.lost(),
);
// set by Gradio when a form is as it was left, see `_wire` in studio/ui/shell.py
new MutationObserver(() => counter?.soon()).observe(document.body, { attributes: true, attributeFilter: ["data-restored-txt2img"] });
hear("form", () => setTimeout(() => counter?.soon(), 600));
hear("asked", live.wake);
document.addEventListener("click", (event) => {
  if (/** @type {HTMLElement} */ (event.target).closest(".go button.primary")) live.wake();
});
