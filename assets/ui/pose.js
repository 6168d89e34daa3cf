/**
 * The pose editor: people over the picture that they were found in, or over nothing. What is used is
 * the map that the server draws of them; it is shown in the corner as soon as the hand rests.
 */

import { api, ApiError, url } from "./api.js";
import { lens, line, takesPictures } from "./canvas-frame.js";
import { view } from "./canvas-view.js";
import { HELD } from "./device.js";
import { button, h, keyed, say, swap } from "./dom.js";
import { figures } from "./pose-drawing.js";
import { guessed, hanging, hasPlace, history, jointAt, limbAt, mirrored, moved, read, shown, standing, sureness, turned, withJoint, withPerson, write } from "./pose-people.js";
import { complain } from "./toasts.js";

/** @typedef {import("./pose-people.js").Pose} Pose */
/** @typedef {import("./pose-people.js").Person} Person */
/** @typedef {import("./pose-people.js").Point} Point */
/** @typedef {import("./pose-people.js").Skeleton} Skeleton */

const REACH_PX = { mouse: 11, pen: 13, touch: 26 };
const REST_MS = 250;
const GROWTH = 1.1;
const TURN = Math.PI / 18;
const STEP_PX = 1;
const LARGE_STEP_PX = 10;
const MOST_PEOPLE = 64;
const HELP = `Drag a joint${HELD ? "" : "; with Shift what hangs on it comes along"}. Drag a limb to move all of the person.`;

/**
 * @param {Skeleton} skeleton
 * @param {{pose: any, image: string|null, changed: (pose: any, ref: string|null) => void, closed: () => void}} of
 *   `pose` as OpenPose writes it, with a canvas; `changed` is told of each change, and again with the ref of its map
 */
export function editPose(skeleton, { pose: begun, image, changed, closed }) {
  const past = history(read(begun));
  /** While something is dragged, what it would become. @type {Pose|null} */
  let held = null;
  let who = 0;
  let joint = -1;
  /** @type {{from: Point, start: Pose, joints: number[]|undefined}|null} */
  let drag = null;
  let timer = 0;
  let asked = 0;
  const now = () => held ?? past.now;
  const person = () => now().people[who];

  const look = view({ down, move, up, cancel: () => ((held = drag = null), draw()), hover });
  const { stage } = look;
  stage.setAttribute("aria-label", "People. The arrow keys move the joint that is chosen, with Shift ten times as far; comma and full stop choose another one, Delete hides it.");
  stage.classList.add("po-pose-stage");
  const people = figures(look, skeleton);
  const map = /** @type {HTMLImageElement} */ (h("img", { alt: "The map as it will be used", class: "po-pose-map" }));
  stage.append(people.root);
  const status = line();
  look.onmove(draw);

  const undo = button("Undo (Ctrl+Z)", "undo", () => (past.undo(), told()), { quiet: true });
  const redo = button("Redo (Ctrl+Shift+Z)", "redo", () => (past.redo(), told()), { quiet: true });
  const add = button("Add a person", "person-plus", () => {
    const one = standing(past.now);
    who = past.now.people.length;
    joint = -1;
    commit({ ...past.now, people: [...past.now.people, one] });
  });
  const remove = button("Delete the person", "bin", removed);
  const of = (/** @type {(one: Person) => Person} */ change) => () => person() && commit(withPerson(past.now, who, change(person())));
  const whole = h(
    "div",
    { class: "po-c-group", role: "group", "aria-label": "The whole person" },
    h("span", { class: "po-soft po-c-word" }, "Person"),
    button("Smaller", "minus", of((one) => turned(one, 1 / GROWTH, 0)), { quiet: true }),
    button("Larger", "plus", of((one) => turned(one, GROWTH, 0)), { quiet: true }),
    button("Turn to the left", "turn-left", of((one) => turned(one, 1, -TURN)), { quiet: true }),
    button("Turn to the right", "turn-right", of((one) => turned(one, 1, TURN)), { quiet: true }),
    button("Mirror", "swap", of((one) => mirrored(one, skeleton.points)), { quiet: true }),
  );
  const file = /** @type {HTMLInputElement} */ (h("input", { type: "file", accept: "application/json,.json", class: "po-sr", tabindex: "-1", "aria-hidden": "true", "data-role": "pose-file" }));
  file.addEventListener("change", () => (load(file.files?.[0]), (file.value = "")));
  const tools = h(
    "div",
    { class: "po-c-tools" },
    h("div", { class: "po-c-group", role: "group", "aria-label": "People" }, add, remove),
    h("div", { class: "po-c-group", role: "group", "aria-label": "History" }, undo, redo),
    whole,
    h("div", { class: "po-c-group", role: "group", "aria-label": "File" }, button("Load JSON", "up-from", () => file.click()), button("Save JSON", "down-to", save), file),
  );
  const chips = h("div", { class: "po-pose-chips", role: "group", "aria-label": "People" });
  const joints = h("ol", { class: "po-pose-joints", "aria-label": "Joints" });
  const nobody = h("p", { class: "po-soft" }, "Nobody is here. Add a person.");
  const side = h("div", { class: "po-pose-side" }, chips, nobody, joints);
  const place = h("div", { class: "po-c-place" }, stage, h("figure", { class: "po-pose-inset" }, map, h("figcaption", {}, "Map")), lens(look));
  const dialog = /** @type {HTMLDialogElement} */ (
    h(
      "dialog",
      { class: "po-pose", "aria-label": "Edit the pose" },
      h("div", { class: "po-pose-head" }, h("h2", {}, "Pose"), tools, button("Done", "check", () => dialog.close(), { class: "po-button po-primary" })),
      h("div", { class: "po-pose-body" }, place, side),
      status.root,
    )
  );
  dialog.addEventListener("keydown", onkey);
  dialog.addEventListener("close", () => {
    clearTimeout(timer);
    if (timer) render();
    dialog.remove();
    closed();
  });
  takesPictures(stage, () => {}); // a picture dropped here must not make the browser leave the page
  document.body.append(dialog);
  dialog.showModal();
  stage.focus({ preventScroll: true });
  status.measure(`${past.now.width} × ${past.now.height} px`);
  const { width, height } = past.now;
  look.open(image ? url.picture(image) : blank(width, height)).catch(() => look.open(blank(width, height))).then(draw, complain);
  render();
  draw();

  // --- the hand ---------------------------------------------------------------------------

  /** @param {Point} point @param {PointerEvent} event */
  function down(point, event) {
    const reach = reachOf(event) / look.place.scale;
    const hit = jointAt(now(), point, reach, who);
    if (hit) {
      ({ who, joint } = hit);
      drag = { from: point, start: past.now, joints: event.shiftKey ? hanging(joint, skeleton.limbs) : [joint] };
    } else {
      const limb = limbAt(now(), point, reach * 0.8, skeleton.limbs);
      if (limb < 0) return false;
      who = limb;
      joint = -1;
      drag = { from: point, start: past.now, joints: undefined };
    }
    draw();
    return true;
  }

  /** @param {Point} point */
  function move(point) {
    if (!drag) return;
    const by = { x: point.x - drag.from.x, y: point.y - drag.from.y };
    if (!held && Math.hypot(by.x, by.y) * look.place.scale < 2) return;
    let one = moved(drag.start.people[who], by, drag.joints);
    // whoever places a joint knows where it is
    for (const at of joint >= 0 ? [joint] : []) one = withJoint(one, at, { sure: 1 });
    held = withPerson(drag.start, who, one);
    draw();
  }

  function up() {
    const next = held;
    held = drag = null;
    if (next) commit(next);
    else draw();
  }

  /** @param {Point|null} point @param {PointerEvent} event */
  function hover(point, event) {
    const reach = reachOf(event) / look.place.scale;
    const over = point && (jointAt(now(), point, reach, who) ? "joint" : limbAt(now(), point, reach * 0.8, skeleton.limbs) >= 0 ? "limb" : "");
    stage.dataset.over = over || "";
  }

  /** @param {PointerEvent} event */
  function reachOf(event) {
    return REACH_PX[/** @type {keyof typeof REACH_PX} */ (event.pointerType)] ?? REACH_PX.mouse;
  }

  // --- the keys ---------------------------------------------------------------------------

  /** @param {KeyboardEvent} event */
  function onkey(event) {
    const keys = /** @type {Record<string, () => void>} */ ({
      ArrowLeft: () => nudge(-1, 0, event.shiftKey),
      ArrowRight: () => nudge(1, 0, event.shiftKey),
      ArrowUp: () => nudge(0, -1, event.shiftKey),
      ArrowDown: () => nudge(0, 1, event.shiftKey),
      ".": () => next(1),
      ",": () => next(-1),
      Delete: () => (joint >= 0 ? toggle(joint, false) : removed()),
      Backspace: () => joint >= 0 && toggle(joint, false),
      0: look.fit,
      "+": () => look.zoom(1.5),
      "-": () => look.zoom(1 / 1.5),
    });
    if (event.ctrlKey || event.metaKey) {
      const key = event.key.toLowerCase();
      if (key !== "z" && key !== "y") return;
      if (key === "y" || event.shiftKey) past.redo();
      else past.undo();
      told();
    } else if (keys[event.key] && !event.altKey) keys[event.key]();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** @param {number} across @param {number} down @param {boolean} far */
  function nudge(across, down, far) {
    if (!person()) return;
    const step = far ? LARGE_STEP_PX : STEP_PX;
    const by = { x: across * step, y: down * step };
    if (joint < 0) commit(withPerson(past.now, who, moved(person(), by)));
    else if (person()[joint].sure > 0) commit(withPerson(past.now, who, withJoint(moved(person(), by, [joint]), joint, { sure: 1 })));
    speak();
  }

  /** @param {number} by */
  function next(by) {
    if (!person()) return;
    const count = skeleton.points.length;
    joint = joint < 0 ? (by > 0 ? 0 : count - 1) : (joint + by + count) % count;
    draw();
    speak();
  }

  // --- what is done -----------------------------------------------------------------------

  /** Shows or hides a joint; one that was never seen is put where it would be. @param {number} at @param {boolean} [on] */
  function toggle(at, on = !(person()[at].sure > 0)) {
    const one = person()[at];
    joint = at;
    if (on === one.sure > 0) return;
    const there = hasPlace(one) ? {} : guessed(person(), at, past.now);
    commit(withPerson(past.now, who, withJoint(person(), at, { ...there, sure: on ? 1 : 0 })));
    speak();
  }

  function removed() {
    if (!person()) return;
    const rest = past.now.people.filter((_, at) => at !== who);
    who = Math.max(0, Math.min(who, rest.length - 1));
    joint = -1;
    commit({ ...past.now, people: rest });
  }

  /** @param {Pose} next */
  function commit(next) {
    past.push(next);
    told();
  }

  /** Something else is so now, also by undo and redo. */
  function told() {
    who = Math.max(0, Math.min(who, past.now.people.length - 1));
    changed(write(past.now), null);
    clearTimeout(timer);
    timer = window.setTimeout(render, REST_MS);
    draw();
  }

  /** Has the map drawn by who draws the one that is used. */
  async function render() {
    timer = 0;
    const ticket = ++asked;
    const data = write(past.now);
    if (!past.now.people.some((one) => shown(one).length)) return map.removeAttribute("src"), delete map.dataset.wanted;
    try {
      const { ref } = await api.pose(data);
      if (ticket !== asked) return;
      changed(data, ref);
      await swap(map, url.picture(ref));
    } catch (error) {
      complain(error);
    }
  }

  /** @param {File|undefined} given */
  async function load(given) {
    if (!given) return;
    try {
      const { pose } = await api.pose(parsed(await given.text()), past.now);
      who = 0;
      joint = -1;
      commit(read(pose));
    } catch (error) {
      complain(error);
    }
  }

  function save() {
    const link = h("a", { download: "pose.json", href: URL.createObjectURL(new Blob([JSON.stringify(write(past.now))], { type: "application/json" })) });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.getAttribute("href") ?? ""), 1000);
  }

  // --- what is shown ----------------------------------------------------------------------

  function draw() {
    const pose = now();
    people.draw(pose, who, joint);
    undo.toggleAttribute("disabled", !past.canUndo);
    redo.toggleAttribute("disabled", !past.canRedo);
    add.toggleAttribute("disabled", pose.people.length >= MOST_PEOPLE);
    remove.toggleAttribute("disabled", !person());
    whole.toggleAttribute("inert", !person());
    nobody.hidden = pose.people.length > 0;
    keyed(chips, [...pose.people.keys()], String, (at) => button("", null, () => ((who = at), (joint = -1), draw())), (node, at) => {
      say(/** @type {HTMLElement} */ (node.firstElementChild), `Person ${at + 1} · ${Math.round(100 * sureness(pose.people[at]))} %`);
      node.setAttribute("aria-pressed", String(at === who));
    });
    keyed(joints, person() ? skeleton.points : [], String, row, (node, name) => {
      const at = skeleton.points.indexOf(name);
      const { sure } = person()[at];
      const [pick, eye] = /** @type {HTMLElement[]} */ ([...node.children]);
      node.classList.toggle("po-is-hidden", !(sure > 0));
      pick.setAttribute("aria-pressed", String(at === joint));
      say(/** @type {HTMLElement} */ (pick.lastElementChild), sure > 0 ? `${Math.round(100 * sure)} %` : "hidden");
      eye.setAttribute("aria-pressed", String(sure > 0));
    });
    const empty = !pose.people.some((one) => shown(one).length);
    dialog.dataset.people = String(pose.people.length);
    if (!empty) status.tell(HELP);
    else status.tell(pose.people.length ? "Every joint is hidden: nothing would steer the picture. Show one, or add a person." : "Nobody is in this pose. Add a person.", "bad");
  }

  /** @param {string} name */
  function row(name) {
    const at = skeleton.points.indexOf(name);
    const dot = h("i", { style: { background: `rgb(${skeleton.colours[at].join(" ")})` } });
    const pick = h("button", { type: "button", class: "po-pose-pick", "data-joint": at, onclick: () => ((joint = at), draw(), speak()) }, dot, h("span", {}, name), h("output", {}));
    return h("li", {}, pick, button(`Show the ${name}`, "eye", () => toggle(at), { quiet: true }));
  }

  /** For ears. */
  function speak() {
    const one = person()?.[joint];
    if (!one) return;
    const { x, y, sure } = one;
    status.tell(`${skeleton.points[joint]}: ${sure > 0 ? `${Math.round(x)}, ${Math.round(y)}, ${Math.round(100 * sure)} % sure` : "hidden"}`);
  }

  return { close: () => dialog.close() };
}

/** @param {string} text of a file; of several frames the first one @returns {any} */
export function parsed(text) {
  try {
    const found = JSON.parse(text);
    return Array.isArray(found) ? found[0] : found;
  } catch {
    throw new ApiError(0, "This file is no JSON.", "Choose a pose as OpenPose or a pose editor writes it.");
  }
}

/** Nobody yet, on a canvas of that size. @param {number} width @param {number} height */
export function emptyPose(width, height) {
  return { people: [], canvas_width: width, canvas_height: height };
}

/** A person who stands on an empty canvas. @param {number} width @param {number} height */
export function standingPose(width, height) {
  return write({ width, height, people: [standing({ width, height, people: [] })] });
}

/** @param {number} width @param {number} height */
function blank(width, height) {
  const text = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}"><rect width="100%" height="100%"/></svg>`;
  return URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
}
