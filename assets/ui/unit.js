/** One control unit as a card: its picture, the map made of it, and how far that is followed. */

import { api, url } from "./api.js";
import { camera } from "./camera.js";
import { apart, choose, percent, slider } from "./controls.js";
import { button, h, icon, say, swap } from "./dom.js";
import { carries, PICTURES } from "./files.js";
import { KINDS, madeOf, mapOf, sentence, wayOf } from "./maps.js";
import { editPose, emptyPose, parsed, standingPose } from "./pose.js";
import { settings } from "./schema.js";
import { complain, toast } from "./toasts.js";
import { upload } from "./upload.js";
import { weights } from "./weights.js";

/** @typedef {import("./maps.js").Unit} Unit */
/** @typedef {{choices: any, checkpoint: string|null, size: [number, number], installs: import("./live.js").Install[]}} Around what there is, what the form says, what is arriving */

const BALANCES = { prompt: "Prompt matters more", balanced: "Balanced", control: "Map matters more" };
const RESIZES = { crop: "Crop", stretch: "Stretch", pad: "Pad" };
const PAUSE_MS = 500;
const GONE = "This picture is gone. Choose another one.";

/**
 * @param {Unit} first
 * @param {() => Around} around
 * @param {(changes: Partial<Unit>) => void} change @param {() => void} drop
 */
export function card(first, around, change, drop) {
  let unit = first;
  /** What the shown map was made of. */
  let made = "";
  let timer = 0;
  let running = "";
  /** The ref of a picture that cannot be shown. */
  let gone = "";
  /** Whom the shown map shows. @type {any} */
  let people = null;

  const title = h("h3", {});
  const remove = button("Remove this unit", "close", drop, { quiet: true });
  const kind = choose("Shows", KINDS, (kind) => replacing({ kind, preprocessor: null, params: {}, controlnet: null }));
  const way = choose("Made by", {}, made_by);
  const about = h("p", { class: "po-soft po-unit-about" });
  const lacking = weights(
    () => around().installs,
    () => api.again().then((found) => ((around().choices = found), change({})), complain),
    (preprocessor) => change({ preprocessor, params: {} }),
  );
  const net = choose("ControlNet", {}, (controlnet) => change({ controlnet: controlnet || null }));
  const params = h("div", { class: "po-unit-params" });
  const tune = h("details", { class: "po-unit-more" }, h("summary", {}, "How the map is made"), params);
  const source = /** @type {HTMLImageElement} */ (h("img", { alt: "The picture", draggable: "false" }));
  const drawn = /** @type {HTMLImageElement} */ (h("img", { alt: "The map made of it", draggable: "false", hidden: true }));
  const words = h("p", { class: "po-unit-words", role: "status" });
  const file = input(PICTURES.join(","), take);
  const poseFile = input("application/json,.json", load);
  poseFile.dataset.role = "pose-file";
  const pick = button("Choose a picture", "picture", () => file.click());
  const stand = button("Pose somebody", "person", posed);
  const open = button("Load a pose", "up-from", () => poseFile.click(), { class: "po-link" });
  const shutter = camera(take);
  const another = h("div", { class: "po-unit-ways" }, button("Change", "picture", () => file.click(), { class: "po-link" }), shutter?.button({ class: "po-link" }));
  const edit = button("Edit the pose", "person", posed, { class: "po-link" });
  const save = h("a", { class: "po-link", download: "map.png", hidden: true }, icon("down-to"), h("span", {}, "Save the map"));
  const empty = h("div", { class: "po-slot-empty" }, h("div", { class: "po-slot-ways" }, pick, shutter?.button(), stand), h("p", { class: "po-soft" }, "or drop or paste one here"), open);
  const caption = h("figcaption", {}, "Map");
  const figure = h("figure", {}, source, h("figcaption", {}, "Picture"));
  const pair = h("div", { class: "po-unit-pair" }, figure, h("figure", {}, drawn, caption));
  const zone = h("div", { class: "po-slot", role: "group", tabindex: "0", "aria-label": "Picture of this unit" }, empty, pair, words, h("div", { class: "po-slot-foot" }, edit, another, save), file, shutter?.input, poseFile);

  const weight = slider("Weight", { min: 0, max: 2, step: 0.05 }, (weight) => change({ weight }));
  const start = slider("From", { min: 0, max: 1, step: 0.05 }, (from) => change({ start: Math.min(from, 0.95), end: Math.max(unit.end ?? 1, Math.min(1, from + 0.05)) }), percent);
  const end = slider("Until", { min: 0, max: 1, step: 0.05 }, (until) => change({ end: Math.max(until, 0.05), start: Math.min(unit.start ?? 0, Math.max(0, until - 0.05)) }), percent);
  const balance = choose("Balance", BALANCES, (balance) => change({ balance }));
  const resize = choose("If the shapes differ", RESIZES, (resize) => change({ resize }));
  const more = h("details", { class: "po-unit-more" }, h("summary", {}, "How far it is followed"), start.node, end.node, balance.node, resize.node);
  const node = h("li", { class: "po-unit" }, h("div", { class: "po-unit-head" }, title, remove), zone, h("div", { class: "po-unit-row" }, kind.node, way.node), about, lacking.node, tune, h("div", { class: "po-unit-row" }, net.node, weight.node), more);

  const form = settings(params, (params) => replacing({ params }));

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

  /** @param {string} accept @param {(file: File|undefined) => void} taken */
  function input(accept, taken) {
    const made = /** @type {HTMLInputElement} */ (h("input", { type: "file", accept, class: "po-sr", tabindex: "-1", "aria-hidden": "true" }));
    made.addEventListener("change", () => {
      taken(made.files?.[0]);
      made.value = "";
    });
    return made;
  }

  /** What takes the place of people that somebody posed can be taken back. @param {Partial<Unit>} changes */
  function replacing(changes) {
    const before = unit;
    change({ pose: null, ...changes });
    if (before.pose) toast("The edited pose was set aside.", { label: "Undo", run: () => change({ image: null, map: null, ...before }) });
  }

  /** @param {string} id */
  function made_by(id) {
    if (id === "hand") return;
    if (id === "own") replacing({ map: unit.pose ? drawn.dataset.ref : unit.image ?? unit.map, image: null, preprocessor: null });
    else replacing({ preprocessor: id, params: {}, image: unit.image ?? unit.map, map: null });
  }

  /** @param {File|undefined} given */
  async function take(given) {
    if (!given) return;
    if (given.type === "application/json") return load(given);
    say(words, "Sending the picture …");
    try {
      const { ref } = await upload(given);
      say(words, "");
      replacing(unit.map && !unit.image ? { map: ref } : { image: ref, map: null });
    } catch (error) {
      say(words, "");
      complain(error);
    }
  }

  // --- people -----------------------------------------------------------------------------

  /** @param {File|undefined} given a pose as OpenPose writes it */
  async function load(given) {
    if (!given) return;
    try {
      const { pose } = await api.pose(parsed(await given.text()));
      change({ kind: "pose", pose, map: null, ...(unit.kind === "pose" ? {} : { preprocessor: null, params: {}, controlnet: null }) });
    } catch (error) {
      complain(error);
    }
  }

  async function posed() {
    const { skeleton } = around().choices;
    const image = unit.image ?? null;
    try {
      const [width, height] = image ? await sizeOf(url.picture(image)) : around().size;
      const pose = unit.pose ?? people ?? (image ? emptyPose(width, height) : standingPose(width, height));
      editPose(skeleton, {
        pose,
        image,
        changed: (pose, ref) => ref || change({ pose, map: null }),
        closed: () => edit.focus({ preventScroll: true }),
      });
      if (!unit.pose && !people && !image) change({ pose, map: null });
    } catch (error) {
      complain(error);
    }
  }

  // --- the map ----------------------------------------------------------------------------

  /** Asks for the map, once the last change is a moment ago. @param {string|undefined} by */
  function soon(by) {
    const asked = madeOf(unit, by);
    if (asked === made || asked === running || !(unit.image || unit.pose)) return;
    clearTimeout(timer);
    timer = window.setTimeout(() => make(asked), unit.pose ? 0 : PAUSE_MS);
  }

  /** @param {string} asked */
  async function make(asked) {
    running = asked;
    zone.setAttribute("aria-busy", "true");
    say(words, unit.pose ? "" : "Making the map …");
    try {
      const found = await mapOf(unit, around().choices, true);
      if (running !== asked) return;
      people = found.pose;
      drawn.dataset.ref = found.ref;
      await swap(drawn, url.picture(found.ref));
      if (!unit.image) await swap(source, url.picture(found.ref));
      drawn.hidden = false;
      save.setAttribute("href", url.picture(found.ref));
      save.hidden = false;
      say(words, "");
    } catch (error) {
      if (running !== asked) return;
      people = null;
      drawn.hidden = save.hidden = true;
      delete drawn.dataset.wanted;
      say(words, sentence(error));
    } finally {
      if (running === asked) {
        made = asked;
        running = "";
        zone.removeAttribute("aria-busy");
        offer();
      }
    }
  }

  /** What can be done with the people of this unit. */
  function offer() {
    const own = Boolean(unit.map);
    stand.hidden = open.hidden = unit.kind !== "pose";
    edit.hidden = unit.kind !== "pose" || own || !(unit.pose || unit.image);
    say(/** @type {HTMLElement} */ (edit.lastElementChild), unit.pose || people ? "Edit the pose" : "Pose by hand");
  }

  return {
    node,
    /** @param {Unit} now @param {number} index @param {boolean} many */
    show(now, index, many) {
      unit = now;
      const { choices, checkpoint } = around();
      const row = wayOf(unit, choices);
      const own = Boolean(unit.map);
      const ref = unit.image || unit.map;
      say(title, `Unit ${index + 1}`);
      remove.hidden = !many;
      kind.set(unit.kind);
      const ways = choices.preprocessors.filter((/** @type {any} */ one) => one.kind === unit.kind);
      way.options({ ...(unit.pose ? { hand: "Posed by hand" } : {}), ...Object.fromEntries(ways.map((/** @type {any} */ one) => [one.id, one.ready ? one.label : `${one.label} (weights missing)`])), own: "My own map" });
      way.set(unit.pose ? "hand" : own ? "own" : row?.id ?? "own");
      say(about, unit.pose ? "People as somebody posed them; nobody is looked for." : own ? "The picture is used as the map, as it is." : row?.about ?? "");
      lacking.show(own || unit.pose ? null : row, choices.preprocessors);
      nets(choices.controlnets, checkpoint);
      form.show(own || unit.pose ? null : row?.schema, unit.params ?? {});
      tune.hidden = !params.childElementCount;
      weight.set(unit.weight ?? 1);
      start.set(unit.start ?? 0);
      end.set(unit.end ?? 1);
      weigh(choices.checkpoints.find((/** @type {any} */ one) => one.id === checkpoint)?.balances ?? Object.keys(BALANCES));
      resize.set(unit.resize ?? "crop");
      const given = Boolean(ref || unit.pose);
      empty.hidden = given;
      pair.hidden = another.hidden = !given;
      zone.dataset.count = given ? "1" : "0";
      pair.dataset.own = own || !unit.image ? "yes" : "";
      say(/** @type {HTMLElement} */ (figure.lastElementChild), unit.image ? "Picture" : "Map");
      say(caption, row?.id === "depth_estimate" && !unit.pose ? "Map, estimated" : "Map");
      if (ref) swap(source, url.picture(ref)).then((shown) => seen(ref, shown));
      if (!unit.pose) people = made === madeOf(unit, row?.id) ? people : null;
      if (given && !own && row && (row.ready || unit.pose)) soon(row.id);
      else {
        clearTimeout(timer);
        made = running = "";
        zone.removeAttribute("aria-busy");
        drawn.hidden = save.hidden = true;
        say(words, ref && gone === ref ? GONE : "");
      }
      offer();
    },
  };

  /** Says whether the unit's picture is gone, unless it has another one by now. @param {string} ref @param {boolean} shown */
  function seen(ref, shown) {
    if (ref !== (unit.image || unit.map)) return;
    if (!shown) say(words, GONE);
    else if (gone === ref && words.textContent === GONE) say(words, "");
    gone = shown ? "" : ref;
  }

  /** What may matter more; nothing to choose where both always matter alike. @param {string[]} ways */
  function weigh(ways) {
    balance.options(Object.fromEntries(Object.entries(BALANCES).filter(([name]) => ways.includes(name))));
    balance.set(ways.includes(unit.balance ?? "") ? unit.balance ?? "balanced" : "balanced");
    balance.node.hidden = ways.length < 2;
  }

  /** Only those that fit the checkpoint, and a chosen one that does not. @param {any[]} all @param {string|null} checkpoint */
  function nets(all, checkpoint) {
    const fitting = all.filter((one) => (checkpoint ? one.fits.includes(checkpoint) : one.fits.length));
    const known = fitting.filter((one) => one.kinds.includes(unit.kind) || !one.kinds.length);
    const chosen = all.find((one) => one.id === unit.controlnet);
    const called = apart(all);
    const absent = unit.controlnet && !chosen ? { [unit.controlnet]: `${unit.controlnet} (not here)` } : {};
    const stray = chosen && !known.includes(chosen) ? { [chosen.id]: `${called[chosen.id]} (does not fit)` } : absent;
    const first = known.length ? "Automatic" : checkpoint ? "None for this checkpoint" : "None for this kind";
    net.options({ "": first, ...Object.fromEntries(known.map((one) => [one.id, called[one.id] ?? ""])), ...stray });
    net.set(unit.controlnet ?? "");
  }
}

/** @param {string} address @returns {Promise<[number, number]>} px */
async function sizeOf(address) {
  const image = new Image();
  image.src = address;
  await image.decode();
  return [image.naturalWidth, image.naturalHeight];
}
