/** Control units: up to four cards, each with a picture, the map made of it, and how far it is followed. */

import { api, url } from "./api.js";
import { button, h, icon, keyed, say, swap } from "./dom.js";
import { field } from "./field.js";
import { carries, PICTURES } from "./files.js";
import { settings } from "./schema.js";
import { complain } from "./toasts.js";

/**
 * @typedef {{kind: string, image?: string|null, map?: string|null, preprocessor?: string|null, params?: Record<string, any>,
 *   controlnet?: string|null, weight?: number, start?: number, end?: number, balance?: string, resize?: string}} Unit
 * @typedef {Record<string, any>} Choices `/api/choices`
 */

const MOST = 4;
const KINDS = { edges: "Edges", depth: "Depth", pose: "Pose", other: "Other" };
const BALANCES = { prompt: "Prompt matters more", balanced: "Balanced", control: "Map matters more" };
const RESIZES = { crop: "Crop", stretch: "Stretch", pad: "Pad" };
const PAUSE_MS = 500;

/** @param {HTMLElement} root */
export function units(root) {
  const { tab = "", name = "" } = root.dataset;
  /** @type {(Unit & {key: number})[]} */
  let rows = [];
  let keys = 0;
  /** @type {Choices|null} */
  let choices = null;
  const value = field(tab, name, (text) => ((rows = parsed(text)), draw()));

  const list = h("ol", { class: "po-units" });
  const add = button("Add a unit", "plus", () => put([...rows, fresh()]), { id: `${tab}-add-unit` });
  const none = h("p", { class: "po-soft po-units-none" });
  root.append(h("div", { class: "po-slot-label" }, "Control units"), list, none, add);

  /** @returns {Unit & {key: number}} */
  function fresh() {
    const taken = rows.map((row) => row.kind);
    const kind = ["edges", "depth", "pose"].find((one) => !taken.includes(one)) ?? "edges";
    return { key: (keys += 1), kind };
  }

  /** @param {string} text */
  function parsed(text) {
    try {
      const found = JSON.parse(text || "[]");
      return found.map((/** @type {Unit} */ unit, /** @type {number} */ at) => ({ ...unit, key: rows[at]?.key ?? (keys += 1) }));
    } catch {
      return [];
    }
  }

  /** @param {(Unit & {key: number})[]} next */
  function put(next) {
    rows = next;
    value.set(rows.length ? JSON.stringify(rows.map(({ key, ...unit }) => unit)) : "");
    draw();
  }

  /** @param {number} key @param {Partial<Unit>} changes */
  function change(key, changes) {
    put(rows.map((row) => (row.key === key ? { ...row, ...changes } : row)));
  }

  /** @type {Map<number, ReturnType<typeof card>>} */
  const cards = new Map();

  function draw() {
    if (!choices) return;
    if (!rows.length) rows = [fresh()];
    for (const key of cards.keys()) if (!rows.some((row) => row.key === key)) cards.delete(key);
    keyed(
      list,
      rows,
      (row) => String(row.key),
      (row) => {
        const made = card(tab, row, /** @type {Choices} */ (choices), (changes) => change(row.key, changes), () => put(rows.filter((one) => one.key !== row.key)));
        cards.set(row.key, made);
        return made.node;
      },
      (_, row, index) => cards.get(row.key)?.show(row, index, rows.length > 1),
    );
    add.hidden = rows.length >= MOST;
    const fitting = choices.controlnets.filter((/** @type {any} */ net) => net.fits.length);
    none.hidden = fitting.length > 0;
    say(none, "No ControlNet is here yet. Put one into the folder 'controlnet' of the data folder; maps can be made without.");
  }

  api.choices().then((found) => ((choices = found), draw()), complain);
  return { show: value.look };
}

/**
 * @param {string} tab @param {Unit & {key: number}} first @param {Choices} choices
 * @param {(changes: Partial<Unit>) => void} change @param {() => void} drop
 */
function card(tab, first, choices, change, drop) {
  let unit = first;
  /** @type {string} what the shown map was made of */
  let made = "";
  let timer = 0;
  let running = "";

  const title = h("h3", {});
  const remove = button("Remove this unit", "close", drop, { quiet: true });
  const kind = choose("Shows", KINDS, (kind) => change({ kind, preprocessor: null, params: {}, controlnet: null }));
  const way = choose("Made by", {}, (id) => change(id === "own" ? { map: unit.image ?? unit.map, image: null, preprocessor: null } : { preprocessor: id, params: {}, image: unit.image ?? unit.map, map: null }));
  const about = h("p", { class: "po-soft po-unit-about" });
  const net = choose("ControlNet", {}, (controlnet) => change({ controlnet: controlnet || null }));
  const params = h("div", { class: "po-unit-params" });
  const tune = h("details", { class: "po-unit-more" }, h("summary", {}, "How the map is made"), params);
  const source = /** @type {HTMLImageElement} */ (h("img", { alt: "The picture", draggable: "false" }));
  const drawn = /** @type {HTMLImageElement} */ (h("img", { alt: "The map made of it", draggable: "false" }));
  const words = h("p", { class: "po-unit-words", role: "status" });
  const file = /** @type {HTMLInputElement} */ (h("input", { type: "file", accept: PICTURES.join(","), class: "po-sr", tabindex: "-1", "aria-hidden": "true" }));
  file.addEventListener("change", () => (take(file.files?.[0]), (file.value = "")));
  const pick = button("Choose a picture", "picture", () => file.click());
  const another = button("Change", "picture", () => file.click(), { class: "po-link" });
  const save = h("a", { class: "po-link", download: "map.png", hidden: true }, icon("down-to"), h("span", {}, "Save the map"));
  const empty = h("div", { class: "po-slot-empty" }, pick, h("p", { class: "po-soft" }, "or drop or paste one here"));
  const pair = h("div", { class: "po-unit-pair" }, h("figure", {}, source, h("figcaption", {}, "Picture")), h("figure", {}, drawn, h("figcaption", {}, "Map")));
  const zone = h("div", { class: "po-slot", role: "group", tabindex: "0", "aria-label": "Picture of this unit" }, empty, pair, words, h("div", { class: "po-slot-foot" }, another, save), file);

  const weight = slider("Weight", { min: 0, max: 2, step: 0.05 }, (weight) => change({ weight }));
  const start = slider("From", { min: 0, max: 1, step: 0.05 }, (from) => change({ start: Math.min(from, 0.95), end: Math.max(unit.end ?? 1, Math.min(1, from + 0.05)) }), percent);
  const end = slider("Until", { min: 0, max: 1, step: 0.05 }, (until) => change({ end: Math.max(until, 0.05), start: Math.min(unit.start ?? 0, Math.max(0, until - 0.05)) }), percent);
  const balance = choose("Balance", BALANCES, (balance) => change({ balance }));
  const resize = choose("If the shapes differ", RESIZES, (resize) => change({ resize }));
  const more = h("details", { class: "po-unit-more" }, h("summary", {}, "How far it is followed"), start.node, end.node, balance.node, resize.node);
  const node = h("li", { class: "po-unit" }, h("div", { class: "po-unit-head" }, title, remove), zone, h("div", { class: "po-unit-row" }, kind.node, way.node), about, tune, h("div", { class: "po-unit-row" }, net.node, weight.node), more);

  const form = settings(params, (params) => change({ params }));

  zone.addEventListener("dragenter", (event) => carries(event.dataTransfer) && zone.classList.add("po-over"));
  zone.addEventListener("dragleave", (event) => zone.contains(/** @type {Node} */ (event.relatedTarget)) || zone.classList.remove("po-over"));
  zone.addEventListener("drop", (event) => {
    zone.classList.remove("po-over");
    take(event.dataTransfer?.files[0]);
  });
  zone.addEventListener("paste", (event) => {
    const pasted = event.clipboardData?.files[0];
    if (!pasted) return;
    event.preventDefault();
    take(pasted);
  });

  /** @param {File|undefined} given */
  async function take(given) {
    if (!given) return;
    say(words, "Sending the picture …");
    try {
      const { ref } = await api.upload(given);
      say(words, "");
      change(unit.map && !unit.image ? { map: ref } : { image: ref, map: null });
    } catch (error) {
      say(words, "");
      complain(error);
    }
  }

  /** Asks for the map, once the last change is a moment ago. */
  function soon() {
    const asked = JSON.stringify([unit.image, unit.preprocessor, unit.params]);
    if (asked === made || !unit.image) return;
    clearTimeout(timer);
    timer = window.setTimeout(() => make(asked), PAUSE_MS);
  }

  /** @param {string} asked */
  async function make(asked) {
    running = asked;
    zone.setAttribute("aria-busy", "true");
    say(words, "Making the map …");
    try {
      const id = await api.map({ image: unit.image, preprocessor: unit.preprocessor ?? current()?.id, params: unit.params ?? {} });
      if (running !== asked) return;
      made = asked;
      await swap(drawn, url.picture(id));
      drawn.hidden = false;
      save.setAttribute("href", `${url.picture(id)}`);
      save.hidden = false;
      say(words, "");
    } catch (error) {
      if (running !== asked) return;
      made = asked;
      drawn.hidden = true;
      save.hidden = true;
      const { message, hint } = /** @type {any} */ (error);
      say(words, [message, hint].filter(Boolean).join(" "));
    } finally {
      if (running === asked) zone.removeAttribute("aria-busy");
    }
  }

  function ways() {
    return choices.preprocessors.filter((/** @type {any} */ row) => row.kind === unit.kind || unit.kind === "other");
  }

  function current() {
    const known = ways();
    return known.find((/** @type {any} */ row) => row.id === unit.preprocessor) ?? known.find((/** @type {any} */ row) => row.ready);
  }

  return {
    node,
    /** @param {Unit & {key: number}} now @param {number} index @param {boolean} many */
    show(now, index, many) {
      unit = now;
      const own = Boolean(unit.map) && !unit.image;
      const ref = unit.image || unit.map;
      say(title, `Unit ${index + 1}`);
      remove.hidden = !many;
      kind.set(unit.kind);
      way.options({ ...Object.fromEntries(ways().map((/** @type {any} */ row) => [row.id, row.ready ? row.label : `${row.label} (weights missing)`])), own: "My own map" });
      way.set(own ? "own" : current()?.id ?? "own");
      say(about, own ? "The picture is used as the map, as it is." : current()?.about ?? "");
      const nets = choices.controlnets.filter((/** @type {any} */ row) => row.fits.length && (row.kinds.includes(unit.kind) || unit.kind === "other"));
      net.options({ "": nets.length ? "Chosen for the checkpoint" : "None for this kind", ...Object.fromEntries(nets.map((/** @type {any} */ row) => [row.id, row.label])) });
      net.set(unit.controlnet ?? "");
      form.show(own ? null : current()?.schema, unit.params ?? {});
      tune.hidden = !params.childElementCount;
      weight.set(unit.weight ?? 1);
      start.set(unit.start ?? 0);
      end.set(unit.end ?? 1);
      balance.set(unit.balance ?? "balanced");
      resize.set(unit.resize ?? "crop");
      empty.hidden = Boolean(ref);
      pair.hidden = another.hidden = !ref;
      zone.dataset.count = ref ? "1" : "0";
      pair.dataset.own = own ? "yes" : "";
      if (ref) swap(source, url.picture(ref));
      if (own) {
        save.hidden = true;
        say(words, "");
      } else soon();
    },
  };
}

const percent = (/** @type {number} */ share) => `${Math.round(share * 100)} %`;

/** @param {string} label @param {Record<string, string>} options @param {(value: string) => void} changed */
function choose(label, options, changed) {
  const select = /** @type {HTMLSelectElement} */ (h("select", { class: "po-select" }));
  const node = h("label", { class: "po-field" }, h("span", {}, label), select);
  let known = "";
  select.addEventListener("change", () => changed(select.value));
  const made = {
    node,
    /** @param {Record<string, string>} next */
    options(next) {
      const said = JSON.stringify(next);
      if (said === known) return;
      known = said;
      select.replaceChildren(...Object.entries(next).map(([value, words]) => h("option", { value }, words)));
    },
    /** @param {string} value */
    set: (value) => void (select.value = value),
  };
  made.options(options);
  return made;
}

/** @param {string} label @param {{min: number, max: number, step: number}} bounds @param {(value: number) => void} changed */
function slider(label, bounds, changed, said = (/** @type {number} */ value) => value.toFixed(2)) {
  const input = /** @type {HTMLInputElement} */ (h("input", { type: "range", ...bounds }));
  const shown = h("output", {});
  const node = h("label", { class: "po-field po-range" }, h("span", {}, label), input, shown);
  input.addEventListener("input", () => say(shown, said(Number(input.value))));
  input.addEventListener("change", () => changed(Number(input.value)));
  return {
    node,
    /** @param {number} value */
    set(value) {
      if (document.activeElement !== input) input.value = String(value);
      say(shown, said(value));
    },
  };
}
