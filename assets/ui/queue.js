/** The jobs that wait, and those that ended badly and can be run again. */

import { api } from "./api.js";
import { tell } from "./bus.js";
import { button, h, icon, keyed, say } from "./dom.js";
import { plural, size } from "./format.js";
import { labelOf, taskOf } from "./tabs.js";
import { complain } from "./toasts.js";

/** @typedef {import("./live.js").Job} Job */

const KEY = "pochade-dismissed";
/** The task that makes control maps. */
const MAP = "preprocess";

/** @param {HTMLElement} root */
export function queue(root) {
  const task = taskOf(root.dataset.tab ?? "");
  const heading = h("h2", {}, "Waiting");
  const waiting = h("ol", { class: "po-queue", "aria-label": "Waiting jobs" });
  const again = h("ul", { class: "po-queue po-again", "aria-label": "Jobs that did not end well" });
  const elsewhere = h("ul", { class: "po-queue", "aria-label": "Painting in another tab" });
  root.append(h("section", { class: "po-section" }, elsewhere, heading, waiting, again));
  const section = /** @type {HTMLElement} */ (root.firstElementChild);
  /** @type {Job[]} */
  let jobs = [];
  let dragged = "";

  /** @param {import("./live.js").Snapshot} snapshot */
  function show(snapshot) {
    jobs = snapshot.jobs.filter((job) => job.state === "queued");
    const hidden = dismissed();
    // whose map was not made is told where it was asked for, see unit.js
    const ended = snapshot.recent.filter((job) => job.task !== MAP && (job.state === "failed" || job.state === "interrupted") && !hidden.includes(job.id));
    const running = snapshot.jobs.filter((job) => job.state === "running" && job.task !== task);
    section.hidden = !jobs.length && !ended.length && !running.length;
    heading.hidden = !jobs.length;
    say(heading, jobs.length ? `Waiting (${jobs.length})` : "");
    keyed(elsewhere, running, (job) => job.id, moving, moved);
    if (!dragged) keyed(waiting, jobs, (job) => job.id, row, refresh);
    keyed(again, ended, (job) => job.id, ending);
  }

  /** What another tab's panel shows in large. @param {Job} job */
  function moving(job) {
    return h("li", { class: "po-row po-moving" }, words(job), h("span", { class: "po-soft po-steps" }), button("Stop", "stop", () => api.cancel(job.id).catch(complain), { quiet: true }));
  }

  /** @param {HTMLElement} node @param {Job} job */
  function moved(node, job) {
    const now = job.progress;
    say(/** @type {HTMLElement} */ (node.querySelector(".po-steps")), now ? `${now.step} / ${now.steps}` : "");
  }

  /** @param {string} id @param {string|null} before */
  function move(id, before) {
    api.move(id, before).catch(complain);
  }

  /** @param {string} id @param {number} by */
  function shift(id, by) {
    const place = jobs.findIndex((job) => job.id === id);
    const target = by < 0 ? place - 1 : place + 2;
    if (place < 0 || target < 0 || place + by >= jobs.length) return;
    move(id, jobs[target]?.id ?? null);
  }

  /** @param {Job} job */
  function row(job) {
    const node = h(
      "li",
      { class: "po-row", draggable: "true", tabindex: "-1" },
      h("span", { class: "po-grip", "aria-hidden": "true" }, icon("grip")),
      words(job),
      button("Earlier", "up", () => shift(job.id, -1), { quiet: true }),
      button("Later", "down", () => shift(job.id, 1), { quiet: true }),
      button("Cancel this job", "close", () => api.cancel(job.id).catch(complain), { quiet: true }),
    );
    node.addEventListener("keydown", (event) => {
      if (!event.altKey || (event.key !== "ArrowUp" && event.key !== "ArrowDown")) return;
      event.preventDefault();
      shift(job.id, event.key === "ArrowUp" ? -1 : 1);
    });
    node.addEventListener("dragstart", (event) => {
      dragged = job.id;
      node.classList.add("po-dragged");
      event.dataTransfer?.setData("text/x-pochade-job", job.id);
    });
    node.addEventListener("dragover", (event) => {
      if (!dragged) return;
      event.preventDefault();
      const other = waiting.querySelector(`[data-key="${dragged}"]`);
      const box = node.getBoundingClientRect();
      if (other && other !== node) waiting.insertBefore(other, event.clientY < box.top + box.height / 2 ? node : node.nextSibling);
    });
    node.addEventListener("dragend", () => {
      node.classList.remove("po-dragged");
      const next = /** @type {HTMLElement|null} */ (node.nextElementSibling);
      if (dragged) move(dragged, next?.dataset.key ?? null);
      dragged = "";
    });
    return node;
  }

  /** @param {HTMLElement} node @param {Job} job @param {number} index */
  function refresh(node, job, index) {
    const [up, down] = node.querySelectorAll("button");
    up.disabled = index === 0;
    down.disabled = index === jobs.length - 1;
  }

  /** @param {Job} job */
  function ending(job) {
    const node = h(
      "li",
      { class: "po-row po-bad" },
      h(
        "div",
        { class: "po-row-words" },
        h("b", {}, job.error?.message ?? (job.state === "failed" ? "This did not work." : "The studio was closed in the middle of this.")),
        h("span", { class: "po-soft" }, job.error?.hint ?? ""),
        words(job),
      ),
      button("Run again", "again", () => (dismiss(job.id), node.remove(), api.rerun(job.id).then(() => tell("asked"), complain))),
      button("Dismiss", "close", () => (dismiss(job.id), node.remove()), { quiet: true }),
    );
    return node;
  }

  return { show };
}

/** @param {Job} job */
function words(job) {
  const { count = 1 } = job.request;
  return h(
    "div",
    { class: "po-row-words" },
    h("span", { class: "po-clip" }, job.request.prompt || (job.task === MAP ? "A control map" : labelOf(job.task))),
    h("span", { class: "po-soft" }, [labelOf(job.task), size(job.request), plural(count, "picture")].filter(Boolean).join(" · ")),
  );
}

/** @returns {string[]} */
function dismissed() {
  try {
    return JSON.parse(localStorage.getItem(KEY) ?? "[]");
  } catch {
    return [];
  }
}

/** @param {string} id */
function dismiss(id) {
  try {
    localStorage.setItem(KEY, JSON.stringify([id, ...dismissed()].slice(0, 50)));
  } catch {
    // a browser without storage shows it again after a reload
  }
}
