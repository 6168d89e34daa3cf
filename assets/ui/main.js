/**
 * The part of the page that moves. Gradio draws the forms; these modules draw into the places that
 * studio/ui/widgets/mounts.py left for them. State flows one way: a snapshot comes in, it is shown.
 * A part is made when its tab is first in view, and told nothing while it is not.
 */

import { api } from "./api.js";
import { bar } from "./bar.js";
import { tell, hear } from "./bus.js";
import { canvas } from "./canvas.js";
import { sides } from "./canvas-sides.js";
import { carried } from "./carried.js";
import { checkpoints } from "./checkpoints.js";
import { drop } from "./drop.js";
import { estimate } from "./estimate.js";
import { examples } from "./examples.js";
import { keepPage } from "./files.js";
import { keepForms, lookAnew, restored } from "./forms.js";
import { gallery } from "./gallery.js";
import { keys } from "./keys.js";
import { extras } from "./extras.js";
import { follow } from "./live.js";
import { panel } from "./panel.js";
import { picker } from "./picker.js";
import { presets } from "./presets.js";
import { queue } from "./queue.js";
import { slot } from "./slot.js";
import { strip } from "./strip.js";
import { tabs } from "./tabs.js";
import { keepTheme } from "./theme.js";
import { keepToasts } from "./toasts.js";
import { tokens } from "./tokens.js";
import { units } from "./units.js";

/**
 * @typedef {import("./live.js").Snapshot} Snapshot
 * @typedef {{show?: (snapshot: Snapshot) => void}} Part
 * @type {Record<string, (root: HTMLElement) => Part|void>} by `data-part`
 */
const makers = {
  bar: (root) => (top = bar(root)),
  panel,
  queue,
  strip,
  gallery,
  slot,
  canvas,
  sides,
  units,
  carried,
  presets,
  examples,
  extras,
  estimate,
  picker,
  checkpoints,
  "prompt-tools": (root) => (drop(root), tokens(root)),
};

/** @type {ReturnType<typeof bar>|undefined} */
let top;
/** @type {Snapshot|undefined} */
let latest;
/** @type {Map<HTMLElement, {part: Part|void, shown?: Snapshot}>} */
const parts = new Map();
const places = document.getElementsByClassName("po-part");

/** @param {HTMLElement} root */
function inView(root) {
  const tab = root.closest(".tabitem");
  return tab ? tab.checkVisibility() : true;
}

/** Gradio draws the page after this file has run: draws into each place that has appeared. */
function settle() {
  for (const root of parts.keys()) if (!root.isConnected) parts.delete(root);
  for (const root of /** @type {Iterable<HTMLElement>} */ (places)) {
    const make = makers[root.dataset.part ?? ""];
    if (!make || parts.has(root)) continue;
    const tab = root.closest(".tabitem");
    if (tab) opened.observe(tab);
    if (!inView(root)) continue;
    if (tab) restored(tab.id.replace("tab-", ""));
    parts.set(root, { part: make(root) });
  }
  show();
}

/** Each part in view learns of the latest snapshot once. */
function show() {
  if (!latest) return;
  for (const [root, known] of parts) {
    if (known.shown === latest || !inView(root)) continue;
    known.shown = latest;
    known.part?.show?.(latest);
  }
}

// a tab that is opened gets a size, and another one whenever something in it grows
const opened = new ResizeObserver(() => {
  settle();
  reveal();
});

/** Moves the strip of tabs, and never the page, to where the open one is in view. */
function reveal() {
  const tab = document.querySelector("#tabs [role=tab][aria-selected=true]");
  const strip = tab?.parentElement;
  if (!tab || !strip) return;
  const [one, all] = [tab.getBoundingClientRect(), strip.getBoundingClientRect()];
  strip.scrollLeft += Math.min(0, one.left - all.left) + Math.max(0, one.right - all.right);
}

document.documentElement.lang = "en";
keepTheme();
keepToasts();
keepPage();
keepForms();
keys();
settle();
new MutationObserver(settle).observe(document.body, { childList: true, subtree: true });

/** Weights came or went. @param {Snapshot} now */
function shelved(now) {
  if (latest && latest.shelf !== now.shelf) {
    api.forget();
    lookAnew(tabs().map((tab) => tab.id));
    tell("shelf");
  }
}

const live = follow(
  (snapshot) => {
    shelved(snapshot);
    latest = snapshot;
    show();
    document.body.dataset.pochade = "ready";
  },
  (reachable) => reachable || top?.lost(),
);
hear("asked", live.wake);
document.addEventListener("click", (event) => {
  if (/** @type {HTMLElement} */ (event.target).closest(".go button.primary")) live.wake();
});
