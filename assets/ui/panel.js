/** The picture that is being made, and the ones that just were. */

import { api, url } from "./api.js";
import { send, tellAnswer } from "./bridge.js";
import { tell } from "./bus.js";
import { comparison, under } from "./compare.js";
import { button, h, icon, keyed, say, swap } from "./dom.js";
import { duration, plural, size } from "./format.js";
import { tabs } from "./tabs.js";
import { complain } from "./toasts.js";
import { view } from "./viewer.js";

/** @typedef {import("./live.js").Job} Job */
/** @typedef {import("./live.js").Snapshot} Snapshot */

const FULL_SIZE_UP_TO = 4;
const PAINTED_AS_ASKED = ["txt2img", "img2img", "control"];
const COMPARE_KEY = "pochade-compare";
const ENDINGS = /** @type {Record<string, string>} */ ({
  cancelled: "Stopped before the first picture was done.",
  interrupted: "The studio was closed while this was being painted.",
  failed: "This did not work.",
});

/** @param {HTMLElement} root */
export function panel(root) {
  const { tab = "" } = root.dataset;
  const about = tabs().find((one) => one.id === tab);
  const empty = h(
    "div",
    { class: "po-empty" },
    icon("easel"),
    h("p", {}, "Your picture forms here."),
    h("p", { class: "po-soft" }, about?.invitation ?? ""),
  );
  const grid = h("ul", { class: "po-pictures", "aria-label": "Pictures of this job" });
  const trouble = h("div", { class: "po-trouble", hidden: true });
  const fill = h("div", { class: "po-fill" });
  const meter = h("div", { class: "po-meter", role: "progressbar", "aria-label": "Progress", "aria-valuemin": 0, "aria-valuemax": 100 }, fill);
  const words = h("p", { class: "po-words" });
  const noted = h("p", { class: "po-soft po-noted", hidden: true });
  const announce = h("p", { class: "po-sr", role: "status", "aria-live": "polite", id: `${tab}-announce` });
  /** @type {Job|null} */
  let shown = null;
  const stop = button("Stop", "stop", () => {
    if (!shown) return;
    stop.setAttribute("disabled", "");
    say(words, "Stopping at the next step …");
    api.cancel(shown.id).catch(complain);
  }, { id: `${tab}-stop`, class: "po-button po-stop" });
  const beside = comparison();
  const compare = button("Compare", "swap", () => (remember(!comparing), shown && last && show(last)), { "aria-pressed": "true", id: `${tab}-compare` });
  const source = button("Use as source", "picture", () => chosen && send({ do: "send", image: chosen, tab }).then(tellAnswer), { id: `${tab}-use-result` });
  const full = button("Full screen", "fit", () => shown && view(shown.images.map((one) => one.id), chosen), { quiet: true });
  const tools = h("div", { class: "po-result-tools", role: "group", "aria-label": "With this picture" }, compare, source, full);
  const foot = h("div", { class: "po-foot" }, meter, h("div", { class: "po-foot-row" }, words, tools, stop), noted);
  root.append(h("section", { class: "po-panel", "aria-label": "Result" }, h("div", { class: "po-canvas" }, empty, beside.node, grid, trouble), foot, announce));

  /** @type {Snapshot|null} */
  let last = null;
  let comparing = remembered();
  /** The result that is compared, by its id. */
  let chosen = "";
  /** The results' size once one of them is there: that of their job's request may be that of a part. */
  let measured = { job: "", width: 0, height: 0 };
  let lastSaid = "";
  let lastId = "";
  let stopping = "";
  /** The picture being painted, and the last preview that still shows the one before it. */
  let painting = -1;
  let outdated = 0;

  /** @param {Snapshot} snapshot */
  function show(snapshot) {
    last = snapshot;
    const mine = (/** @type {Job} */ one) => one.task === about?.task;
    const job = snapshot.jobs.find(mine) ?? snapshot.recent.find((one) => mine(one) && worthShowing(one)) ?? null;
    shown = job;
    root.dataset.state = job?.state ?? "empty";
    root.dataset.job = job?.id ?? "";
    empty.hidden = job !== null;
    foot.hidden = job === null;
    beside.node.hidden = true;
    tools.hidden = true;
    if (!job) return grid.replaceChildren();
    if (job.id !== lastId) {
      lastId = job.id;
      painting = -1;
      outdated = 0;
      stop.removeAttribute("disabled");
      stopping = "";
    }
    const picture = job.progress?.picture ?? -1;
    if (picture !== painting) {
      outdated = painting < 0 ? 0 : job.preview ?? 0;
      painting = picture;
    }
    say(noted, job.notes.join(" "));
    noted.hidden = !job.notes.length;
    pictures(job);
    results(job);
    ending(job);
    progress(job, snapshot);
  }

  /** @param {Job} job */
  function pictures(job) {
    const active = job.state === "running" || job.state === "queued";
    const done = new Map(job.images.map((image) => [image.index, image]));
    const count = active ? job.request.count ?? 1 : job.images.length;
    const rows = Array.from({ length: count }, (_, place) => (active ? place : job.images[place].index));
    const { width, height } = shape(job);
    const columns = count < 2 ? 1 : count < 5 ? 2 : count < 10 ? 3 : 4;
    grid.hidden = !count;
    grid.style.setProperty("--ratio", String(width / height));
    grid.style.setProperty("--columns", String(columns));
    grid.style.setProperty("--rows", String(Math.ceil(count / columns)));
    grid.style.setProperty("--natural", `${width}px`);
    keyed(
      grid,
      rows,
      (index) => `${job.id}:${index}`,
      () => {
        const image = /** @type {HTMLImageElement} */ (h("img", { alt: "", draggable: "false" }));
        image.addEventListener("load", () => measure(job.id, image));
        return h("li", { class: "po-tile" }, h("button", { type: "button", disabled: true }, image));
      },
      (node, index) => {
        const image = /** @type {HTMLImageElement} */ (node.querySelector("img"));
        const opener = /** @type {HTMLButtonElement} */ (node.querySelector("button"));
        const ready = done.get(index);
        const forming = !ready && job.progress?.picture === index;
        node.dataset.state = ready ? "done" : forming ? "forming" : "waiting";
        opener.disabled = !ready;
        opener.setAttribute("aria-label", ready ? `Picture ${index + 1}: open full screen` : forming ? `Picture ${index + 1} is forming` : `Picture ${index + 1} waits`);
        opener.onclick = ready ? () => picked(job, ready.id) : null;
        if (ready) swap(image, count > FULL_SIZE_UP_TO ? url.thumb(ready.id) : url.file(ready.id));
        else if (forming && job.preview && job.preview > outdated) swap(image, url.preview(job.id, job.preview));
      },
    );
  }

  /** @param {Job} job */
  function shape(job) {
    if (measured.job === job.id) return measured;
    return { width: job.request.width ?? 512, height: job.request.height ?? 512 };
  }

  /** @param {string} job @param {HTMLImageElement} image */
  function measure(job, image) {
    const { naturalWidth: width, naturalHeight: height, src } = image;
    // previews and thumbnails are of another size
    if (!width || !src.endsWith("/file") || shown?.id !== job || measured.job === job) return;
    measured = { job, width, height };
    if (last) show(last);
  }

  /** What can be done with the pictures of an ended job: beside what they were made from, above all. */
  function results(/** @type {Job} */ job) {
    const active = job.state === "running" || job.state === "queued";
    const ready = job.images.length > 0 && !active;
    const before = job.request.image;
    tools.hidden = !ready || !(before || about?.takesPicture);
    compare.hidden = !before;
    compare.setAttribute("aria-pressed", String(comparing));
    source.hidden = !about?.takesPicture;
    if (!job.images.some((one) => one.id === chosen)) chosen = job.images[0]?.id ?? "";
    const on = ready && Boolean(before) && comparing;
    beside.node.hidden = !on;
    root.toggleAttribute("data-comparing", on);
    grid.hidden ||= on && job.images.length < 2;
    for (const [place, node] of [...grid.children].entries()) node.toggleAttribute("data-chosen", on && job.images[place]?.id === chosen);
    if (!on) return;
    const size = shape(job);
    beside.show({ before: url.picture(before), after: url.file(chosen), ratio: size.width / size.height, natural: size.width, ...under(job.request, size) });
  }

  /** While results are compared a click chooses among them. @param {Job} job @param {string} id */
  function picked(job, id) {
    chosen = id;
    if (root.hasAttribute("data-comparing")) results(job);
    else view(job.images.map((one) => one.id), id);
  }

  /** @param {boolean} on */
  function remember(on) {
    comparing = on;
    try {
      localStorage.setItem(COMPARE_KEY, on ? "on" : "off");
    } catch {
      // a browser without storage compares again after a reload
    }
  }

  /** Whoever stops a job after a picture knows why it ended; any other end is told, and what it left.
   * @param {Job} job */
  function ending(job) {
    const kept = job.images.length;
    const sad = job.state in ENDINGS && !(kept && job.state === "cancelled");
    trouble.hidden = !sad;
    trouble.toggleAttribute("data-under", Boolean(kept));
    if (!sad || trouble.dataset.job === job.id) return;
    trouble.dataset.job = job.id;
    trouble.replaceChildren(
      h("p", {}, job.error?.message ?? ENDINGS[job.state]),
      h("p", { class: "po-soft" }, [job.error?.hint, kept && `${kept} of ${plural(job.request.count ?? 1, "picture")} ${kept > 1 ? "were" : "was"} done, and kept.`].filter(Boolean).join(" ")),
      button("Run again", "again", () => api.rerun(job.id).then(() => tell("asked"), complain)),
    );
  }

  /** @param {Job} job @param {Snapshot} snapshot */
  function progress(job, snapshot) {
    const running = job.state === "running";
    const active = running || job.state === "queued";
    const now = job.progress;
    const share = now && running ? (now.picture + now.step / now.steps) / now.pictures : 0;
    const percent = Math.floor(100 * share);
    meter.hidden = !active;
    meter.classList.toggle("po-unsure", active && !now);
    if (now) meter.setAttribute("aria-valuenow", String(percent));
    else meter.removeAttribute("aria-valuenow");
    fill.style.transform = `scaleX(${share})`;
    const held = document.activeElement === stop;
    stop.hidden = !active;
    if (held && stop.hidden) document.querySelector(`#${tab}-prompt textarea`)?.focus();
    if (stop.hasAttribute("disabled") && active) stopping = job.id;
    if (stopping !== job.id) say(words, sentence(job, snapshot));
    else if (!active) say(words, sentence(job, snapshot));
    speak(job, active, percent);
  }

  /** Told to screen readers: the start, each quarter, the end. Not every step. */
  function speak(/** @type {Job} */ job, /** @type {boolean} */ active, /** @type {number} */ percent) {
    const text = active
      ? job.state === "queued" ? "Waiting" : percent < 25 ? "Painting" : `${Math.floor(percent / 25) * 25} per cent done`
      : job.state === "finished" ? `Done: ${plural(job.images.length, "picture")}` : `Job ${job.state}`;
    if (`${job.id}${text}` === lastSaid) return;
    lastSaid = `${job.id}${text}`;
    say(announce, text);
  }

  return { show };
}

function remembered() {
  try {
    return localStorage.getItem(COMPARE_KEY) !== "off";
  } catch {
    return true;
  }
}

/** A job taken from the queue before it began leaves the pictures of the one before in view. */
function worthShowing(/** @type {Job} */ job) {
  return job.state !== "cancelled" || job.started !== null;
}

/** @param {Job} job @param {Snapshot} snapshot */
function sentence(job, snapshot) {
  const now = job.progress;
  if (job.state === "queued") {
    if (!snapshot.warm) return "Waiting for the engine to warm up …";
    return snapshot.ahead ? `Waiting: ${plural(snapshot.ahead, "job")} of others first` : "About to begin …";
  }
  if (job.state === "running") {
    if (!now) return job.loading ? `Loading ${job.loading} …` : "Getting ready …";
    const which = now.pictures > 1 ? `Picture ${now.picture + 1} of ${now.pictures} · ` : "";
    const left = now.seconds_left === null ? "" : ` · ${duration(now.seconds_left)} left`;
    return `${which}Step ${now.step} of ${now.steps}${left}`;
  }
  const { request } = job;
  return [
    job.images.length ? plural(job.images.length, "picture") : "",
    // others have another size than they are painted in: that of their source, or a second pass's
    PAINTED_AS_ASKED.includes(job.task) && !request.hires && !request.mask ? size(request) : "",
    request.seed === undefined || request.seed === null ? "" : `seed ${request.seed}`,
    job.started && job.ended ? duration(job.ended - job.started) : "",
    job.state === "finished" ? "" : job.state,
  ].filter(Boolean).join(" · ");
}
