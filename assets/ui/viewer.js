/** One picture on the whole screen, with how it was made beside it. */

import { api, url } from "./api.js";
import { send, sendMenu, tellAnswer } from "./bridge.js";
import { hear, tell } from "./bus.js";
import { button, h, icon, say, swap } from "./dom.js";
import { duration, moment, size } from "./format.js";
import { tabOf } from "./tabs.js";
import { complain, copy, toast } from "./toasts.js";

/** @typedef {Record<string, any>} ImageJson a record as /api/images gives it */

/** What is told in a place of its own, or in the row of another name. */
const TOLD = ["prompt", "negative_prompt", "checkpoint", "width", "height", "steps", "guidance", "sampler", "seed", "count", "clip_skip", "weights", "image", "mask"];

/** Of a picture's id in the gallery; the ref of an upload is twice as long. */
const ID_CHARS = 32;

/** @type {ReturnType<typeof make>|null} */
let dialog = null;

/**
 * @param {string[]} ids the pictures that the arrows walk through
 * @param {string} id the one to begin with
 * @param {() => Promise<string[]>} [more] further ids when the end is near
 */
export function view(ids, id, more) {
  dialog ??= make();
  dialog.open(ids, id, more);
}

function make() {
  /** @type {string[]} */
  let ids = [];
  let place = 0;
  /** @type {(() => Promise<string[]>)|undefined} */
  let more;
  /** @type {ImageJson|null} */
  let record = null;
  /** Where somebody came from who looks at what a picture was made from. @type {{ids: string[], place: number, more?: () => Promise<string[]>}[]} */
  let trail = [];
  /** @type {Record<string, any>|null} what ids are called: /api/choices */
  let names = null;
  /** @param {string} kind @param {string} id */
  const called = (kind, id) => names?.[kind].find((/** @type {any} */ row) => row.id === id)?.label ?? id;

  const image = /** @type {HTMLImageElement} */ (h("img", { class: "po-full", alt: "" }));
  const back = button("Previous picture", "left", () => go(-1), { quiet: true, class: "po-tool po-side po-back" });
  const on = button("Next picture", "right", () => go(1), { quiet: true, class: "po-tool po-side po-on" });
  const count = h("span", { class: "po-count" });
  const close = button("Close", "close", () => root.close(), { quiet: true });
  const returning = button("Back", "left", () => {
    const from = trail.pop();
    if (from) walk(from);
  }, { class: "po-link po-return" });
  const facts = h("div", { class: "po-facts" });
  const star = button("Star", "star", flip, { "aria-pressed": "false", class: "po-button po-star" });
  const download = h("a", { class: "po-button", download: "" }, icon("down-to"), h("span", {}, "Download"));
  const remove = button("Delete", "bin", trash);
  const use = button("Use these settings", "brush", reuse, { class: "po-button po-primary", id: "po-use" });
  const tools = h(
    "div",
    { class: "po-tools" },
    use,
    sendMenu(() => ids[place], () => root.close()),
    star,
    download,
    button("Copy settings", "copy", () => record && copy(record.infotext, "Settings")),
    remove,
  );
  const root = /** @type {HTMLDialogElement} */ (
    h(
      "dialog",
      { class: "po-viewer", "aria-label": "Picture" },
      h("div", { class: "po-frame" }, image, back, on),
      h("aside", { class: "po-aside", "aria-label": "How it was made" }, h("div", { class: "po-aside-head" }, returning, count, close), facts, tools),
    )
  );
  document.body.append(root);

  root.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target instanceof HTMLSelectElement) return;
    const acts = /** @type {Record<string, () => void>} */ ({ ArrowLeft: () => go(-1), ArrowRight: () => go(1), s: flip, Delete: trash });
    const act = acts[event.key];
    if (act) {
      event.preventDefault();
      act();
    }
  });
  root.addEventListener("close", () => {
    image.removeAttribute("src");
    image.dataset.wanted = "";
  });
  hear("restored", (/** @type {string[]} */ back) => {
    if (root.open && record && back.includes(record.id)) show();
  });

  /** @param {number} by */
  function go(by) {
    const next = place + by;
    if (next < 0 || next >= ids.length) return;
    place = next;
    show();
    if (more && place > ids.length - 6) more().then((longer) => ((ids = longer), marks()), () => {});
  }

  /** @param {{ids: string[], place: number, more?: () => Promise<string[]>}} way */
  function walk(way) {
    ({ ids, place, more } = way);
    show();
  }

  /** @param {string} id of a picture that this one was made from */
  function descend(id) {
    trail.push({ ids, place, more });
    walk({ ids: [id], place: 0 });
  }

  function marks() {
    returning.hidden = !trail.length;
    say(count, `${place + 1} of ${ids.length}`);
    back.toggleAttribute("disabled", place === 0);
    on.toggleAttribute("disabled", place >= ids.length - 1);
  }

  async function show() {
    const id = ids[place];
    marks();
    swap(image, url.file(id));
    if (ids[place + 1]) new Image().src = url.file(ids[place + 1]);
    try {
      const found = await api.image(id);
      if (ids[place] !== id) return;
      record = found;
      names ??= await api.choices().catch(() => null);
      if (ids[place] === id) describe(found);
    } catch (error) {
      complain(error);
    }
  }

  /** @param {ImageJson} found */
  function describe(found) {
    const asked = found.request;
    image.alt = found.prompt;
    download.setAttribute("href", `${url.file(found.id)}?download=1`);
    download.setAttribute("download", `${slug(found.prompt)}-${found.seed}.png`);
    star.setAttribute("aria-pressed", String(found.starred));
    say(/** @type {HTMLElement} */ (star.querySelector("span")), found.starred ? "Starred" : "Star");
    say(/** @type {HTMLElement} */ (remove.querySelector("span")), found.trashed ? "Restore" : "Delete");
    const weights = found.facts?.checkpoint ?? {};
    const own = Object.entries(asked).filter(([name, value]) => !TOLD.includes(name) && (name !== "refiner_after" || asked.refiner) && (name !== "strength" || value || found.task !== "upscale")).map(([name, value]) => row(name, name === "upscaler" ? called("upscalers", value) : value));
    const rows = /** @type {[string, any, (() => void)?][]} */ ([
      ["Kind", called("tasks", found.task)],
      ["Size", size(found)],
      ["Steps", asked.steps],
      ["Guidance", asked.guidance],
      ["Sampler", called("samplers", asked.sampler)],
      ["Seed", asked.seed === null ? null : found.seed, () => copy(String(found.seed), "Seed")],
      ["Clip skip", asked.clip_skip > 1 ? asked.clip_skip : null],
      ["Checkpoint", [called("checkpoints", found.checkpoint), weights.short && `(${weights.short})`].filter(Boolean).join(" ")],
      ["Weights in memory", asked.weights === "planned" ? null : asked.weights],
      ["Styles", asked.styled?.join(", ")],
      ...own,
      ["Made", moment(found.created)],
      ["Took", found.facts?.seconds ? `${duration(found.facts.seconds)} on ${found.facts.device ?? "?"}` : null],
      ["To fit memory", found.facts?.plan?.join(" ")],
    ]);
    facts.replaceChildren(
      found.prompt ? h("div", { class: "po-said" }, h("p", {}, found.prompt), button("Copy prompt", "copy", () => copy(found.prompt, "Prompt"), { quiet: true })) : "",
      found.negative_prompt ? h("p", { class: "po-soft po-away" }, `Away from: ${found.negative_prompt}`) : "",
      found.parents?.length ? madeFrom(found, descend) : "",
      h(
        "dl",
        {},
        ...rows
          .filter(([, value]) => value !== null && value !== undefined && value !== "")
          .flatMap(([name, value, act]) => [h("dt", {}, name), h("dd", {}, h("span", {}, value), act && button(`Copy ${name.toLowerCase()}`, "copy", act, { quiet: true }))]),
      ),
    );
  }

  async function flip() {
    if (!record) return;
    try {
      const found = await api.star(record.id, !record.starred);
      tell("starred", { id: found.id, starred: found.starred });
      if (ids[place] === found.id) describe((record = found));
    } catch (error) {
      complain(error);
    }
  }

  async function trash() {
    if (!record) return;
    const { id } = record;
    if (record.trashed) {
      await restore([id]);
      return root.close();
    }
    try {
      await discard([id]);
      ids = ids.filter((one) => one !== id);
      place = Math.min(place, ids.length - 1);
      if (ids.length) show();
      else root.close();
    } catch (error) {
      complain(error);
    }
  }

  function reuse() {
    if (!record) return;
    send({ do: "reuse", image: record.id, tab: tabOf(record.task) }).then(tellAnswer);
    root.close();
  }

  return {
    /** @param {string[]} list @param {string} id @param {() => Promise<string[]>} [further] */
    open(list, id, further) {
      ids = list;
      place = Math.max(0, list.indexOf(id));
      more = further;
      trail = [];
      record = null;
      facts.replaceChildren();
      if (!root.open) root.showModal();
      show();
    },
  };
}

/**
 * @param {string} name of a setting that only some kinds have
 * @param {any} value
 * @returns {[string, any]}
 */
function row(name, value) {
  const words = name.replace(/_px$/, "").replaceAll("_", " ");
  const told = typeof value === "string" || (typeof value === "number" && (value !== 0 || name === "strength"));
  return [words.charAt(0).toUpperCase() + words.slice(1), told ? `${value}${name.endsWith("_px") ? " px" : ""}` : null];
}

/**
 * The pictures that one was made from: a click opens those of the gallery.
 * @param {ImageJson} found @param {(id: string) => void} descend
 */
function madeFrom(found, descend) {
  return h("section", { class: "po-parents", "aria-label": "Made from" }, h("h3", {}, "Made from"), h("ul", {}, ...found.parents.map((/** @type {string} */ ref) => parent(ref, found.request.mask === ref ? "Mask" : "Picture", descend))));
}

/** @param {string} ref @param {string} what @param {(id: string) => void} descend */
function parent(ref, what, descend) {
  const ours = ref.length === ID_CHARS;
  const image = h("img", { src: ours ? url.thumb(ref) : url.picture(ref), alt: ours ? "" : `${what} it was made from`, loading: "lazy", draggable: "false" });
  const item = h("li", {}, ours ? h("button", { type: "button", "aria-label": `Open the ${what.toLowerCase()} it was made from`, onclick: () => descend(ref) }, image) : image, what === "Mask" && h("span", { class: "po-soft" }, what));
  image.addEventListener("error", () => item.replaceChildren(h("span", { class: "po-soft po-gone" }, `${what === "Mask" ? "The mask" : "This picture"} is gone.`)));
  return item;
}

/** Into the trash, with a way back. @param {string[]} ids */
export async function discard(ids) {
  await api.trash(ids);
  tell("trashed", ids);
  toast(ids.length === 1 ? "Moved to the trash." : `${ids.length} pictures moved to the trash.`, { label: "Undo", run: () => restore(ids) });
}

/** @param {string[]} ids */
export async function restore(ids) {
  try {
    await api.restore(ids);
    tell("restored", ids);
    toast(ids.length === 1 ? "The picture is back." : `${ids.length} pictures are back.`);
  } catch (error) {
    complain(error);
  }
}

/** @param {string} text */
function slug(text) {
  return text.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "").slice(0, 60) || "picture";
}
