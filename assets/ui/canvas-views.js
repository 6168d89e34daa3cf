/** The stage of a tab has two views in one place: the work on the picture, and what came of it. */

import { button, h } from "./dom.js";
import { taskOf } from "./tabs.js";

/** @typedef {import("./live.js").Snapshot} Snapshot */

/**
 * @param {HTMLElement} root of the part that is the work
 * @param {string} name what the work is called
 */
export function views(root, name) {
  const { tab = "" } = root.dataset;
  const stage = root.closest(".stage");
  const choices = /** @type {["work"|"result", HTMLElement][]} */ ([
    ["work", button(name, null, () => turn("work"))],
    ["result", button("Result", null, () => turn("result"))],
  ]);
  /** Jobs that were there when the page was opened, or have been seen since. @type {Set<string>|null} */
  let known = null;

  /** @param {"work"|"result"} view */
  function turn(view) {
    stage?.setAttribute("data-view", view);
    for (const [one, node] of choices) node.setAttribute("aria-pressed", String(one === view));
  }
  turn("work");

  return {
    head: h("div", { class: "po-c-views", role: "group", "aria-label": "Shown" }, ...choices.map(([, node]) => node)),
    turn,
    /** Watches a job that is being painted, or has just been asked for. @param {Snapshot} snapshot */
    show(snapshot) {
      const task = taskOf(tab);
      const active = snapshot.jobs.filter((job) => job.task === task);
      const mine = [...active, ...snapshot.recent.filter((job) => job.task === task)];
      const before = known;
      if (before ? mine.some((job) => !before.has(job.id)) : active.length) turn("result");
      known = new Set([...(before ?? []), ...mine.map((job) => job.id)]);
    },
  };
}
