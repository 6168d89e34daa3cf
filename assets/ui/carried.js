/**
 * The units that were set up in the tab Control, carried along into another tab: on or off there, as
 * small maps. What another picture's settings brought is that tab's own, until it follows Control again.
 */

import { api, url } from "./api.js";
import { send } from "./bridge.js";
import { percent } from "./controls.js";
import { button, h, keyed, say, swap } from "./dom.js";
import { field } from "./field.js";
import { plural } from "./format.js";
import { KINDS, mapOf, sentence } from "./maps.js";
import { open } from "./tabs.js";
import { complain } from "./toasts.js";
import { rowsOf } from "./units.js";

/** @typedef {import("./maps.js").Unit} Unit */

const HOME = "control";

/** @param {HTMLElement} root */
export function carried(root) {
  const { tab = "", name = "" } = root.dataset;
  /** @type {any} */
  let choices = null;
  const own = field(tab, name, draw);
  /** What Control holds as long as its tab has not been opened on this page; null while that is not known. @type {string|null} */
  let kept = null;
  const home = () => /** @type {HTMLTextAreaElement|null} */ (document.querySelector(`#${HOME}-${name} textarea`))?.value ?? kept ?? "";

  const box = /** @type {HTMLInputElement} */ (h("input", { type: "checkbox", id: `${tab}-carry` }));
  const words = h("span", {});
  const list = h("ol", { class: "po-carried" });
  const about = h("p", { class: "po-soft po-carried-words" });
  const there = button("Set up in Control", "sliders", () => open(HOME), { class: "po-link" });
  const edit = button("Edit in Control", "sliders", () => send({ do: "fill", tab: HOME, settings: { units: rowsOf(own.value) } }), { class: "po-link" });
  const follow = button("Use those of Control", "again", () => carry(rowsOf(home())), { class: "po-link" });
  const title = h("span", {});
  root.append(h("details", { class: "po-fold" }, h("summary", {}, title), h("label", { class: "po-carry" }, box, words), about, list, h("div", { class: "po-unit-ways" }, there, edit, follow)));
  box.addEventListener("change", () => (box.checked ? carry(rowsOf(home())) : put("")));

  const follows = () => own.value.startsWith("{");
  const ready = (/** @type {Unit[]} */ rows) => rows.filter((unit) => unit.image || unit.map || unit.pose);

  /** @param {string} text */
  function put(text) {
    own.set(text);
    draw();
  }

  /** @param {Unit[]} rows */
  function carry(rows) {
    put(JSON.stringify({ of: HOME, units: ready(rows) }));
  }

  function draw() {
    if (kept === null) return;
    const set = ready(rowsOf(home()));
    // what is switched on follows Control, wherever it was changed
    if (follows() && JSON.stringify(rowsOf(own.value)) !== JSON.stringify(set)) return carry(set);
    const on = own.value !== "";
    const rows = on ? ready(rowsOf(own.value)) : set;
    say(title, on ? `Control: ${plural(rows.length, "unit")}` : "Control");
    box.checked = on;
    box.disabled = !on && !set.length;
    say(words, on && !follows() ? "Steered by the maps of these settings" : "Steer with the maps of Control");
    const none = on ? "Nothing is set up in Control any more." : "No map is set up yet: edges, depth or a pose that a picture is painted by.";
    say(about, rows.length ? "" : none);
    list.classList.toggle("po-is-off", !on);
    keyed(list, [...rows.keys()], (at) => JSON.stringify([at, rows[at].kind]), line, (node, at) => fill(node, rows[at]));
    there.hidden = on && !follows();
    edit.hidden = follow.hidden = !on || follows();
    say(/** @type {HTMLElement} */ (there.lastElementChild), set.length ? "Change in Control" : "Set up in Control");
  }

  function line() {
    return h("li", {}, h("img", { alt: "", draggable: "false" }), h("div", {}, h("b", {}), h("p", { class: "po-soft" }), h("p", { class: "po-soft", role: "status" })));
  }

  /** @param {HTMLElement} node @param {Unit} unit */
  async function fill(node, unit) {
    const [image, side] = node.children;
    say(/** @type {HTMLElement} */ (side.children[0]), KINDS[unit.kind] ?? unit.kind);
    const [, facts, trouble] = /** @type {HTMLElement[]} */ ([...side.children]);
    const [start, end] = [unit.start ?? 0, unit.end ?? 1];
    say(facts, `Weight ${(unit.weight ?? 1).toFixed(2)}${start > 0 || end < 1 ? `, from ${percent(start)} until ${percent(end)}` : ""}`);
    if (!choices) return;
    try {
      const { ref } = await mapOf(unit, choices);
      image.setAttribute("alt", `Map: ${KINDS[unit.kind] ?? unit.kind}`);
      await swap(/** @type {HTMLImageElement} */ (image), url.picture(ref));
      say(trouble, "");
    } catch (error) {
      say(trouble, sentence(error));
    }
  }

  api.choices().then((found) => ((choices = found), draw()), complain);
  // whatever was done in Control meanwhile
  new IntersectionObserver(draw).observe(root);
  api.draft(HOME).then((draft) => ((kept = draft[name] ?? ""), draw()), complain);
  return {
    show() {
      own.look();
      draw();
    },
  };
}
