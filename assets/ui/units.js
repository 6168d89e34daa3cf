/** Control units: up to four cards, see unit.js. */

import { api } from "./api.js";
import { values } from "./canvas-form.js";
import { button, h, keyed, say } from "./dom.js";
import { field } from "./field.js";
import { complain } from "./toasts.js";
import { card } from "./unit.js";

/** @typedef {import("./maps.js").Unit} Unit */
/** @typedef {Unit & {key: number}} Row */

const MOST = 4;
const FALLBACK_PX = 512;

/** @param {HTMLElement} root */
export function units(root) {
  const { tab = "", name = "" } = root.dataset;
  /** @type {Row[]} */
  let rows = [];
  let keys = 0;
  /** @type {import("./unit.js").Around} */
  const around = { choices: null, checkpoint: null, size: [FALLBACK_PX, FALLBACK_PX], installs: [] };
  const value = field(tab, name, (text) => ((rows = parsed(text)), draw()));
  const form = values(tab, () => draw());

  const list = h("ol", { class: "po-units" });
  const add = button("Add a unit", "plus", () => put([...rows, fresh()]), { id: `${tab}-add-unit` });
  const none = h("p", { class: "po-soft po-units-none" });
  root.append(h("div", { class: "po-slot-label" }, "Control units"), list, none, add);

  /** @returns {Row} */
  function fresh() {
    const taken = rows.map((row) => row.kind);
    const kind = ["edges", "depth", "pose"].find((one) => !taken.includes(one)) ?? "edges";
    return { key: (keys += 1), kind };
  }

  /** @param {string} text */
  function parsed(text) {
    return rowsOf(text).map((unit, at) => ({ ...unit, key: rows[at]?.key ?? (keys += 1) }));
  }

  /** @param {Row[]} next */
  function put(next) {
    rows = next;
    value.set(rows.length ? JSON.stringify(rows.map(({ key, ...unit }) => unit)) : "");
    draw();
  }

  /** @param {number} key @param {Partial<Unit>} changes */
  function change(key, changes) {
    put(rows.map((row) => (row.key === key ? { ...row, ...changes, key } : row)));
  }

  /** @type {Map<number, ReturnType<typeof card>>} */
  const cards = new Map();

  function draw() {
    if (!around.choices) return;
    const said = form.read();
    around.checkpoint = said.checkpoint ?? null;
    around.size = [said.width || FALLBACK_PX, said.height || FALLBACK_PX];
    if (!rows.length) rows = [fresh()];
    for (const key of cards.keys()) if (!rows.some((row) => row.key === key)) cards.delete(key);
    keyed(
      list,
      rows,
      (row) => String(row.key),
      (row) => {
        const made = card(row, () => around, (changes) => change(row.key, changes), () => put(rows.filter((one) => one.key !== row.key)));
        cards.set(row.key, made);
        return made.node;
      },
      (_, row, index) => cards.get(row.key)?.show(row, index, rows.length > 1),
    );
    add.hidden = rows.length >= MOST;
    const { checkpoint } = around;
    const useless = around.choices.controlnets.filter((/** @type {any} */ net) => net.problem).map((/** @type {any} */ net) => ` '${net.label}' cannot be used: ${net.problem}`);
    const fitting = around.choices.controlnets.filter((/** @type {any} */ net) => (checkpoint ? net.fits.includes(checkpoint) : net.fits.length));
    none.hidden = fitting.length > 0;
    const unheard = checkpoint && around.choices.checkpoints.find((/** @type {any} */ one) => one.id === checkpoint)?.balances.length === 0;
    const why = unheard ? "No ControlNet steers checkpoints of this kind. Choose another checkpoint; maps can be made without." : checkpoint && around.choices.controlnets.length ? "No ControlNet fits this checkpoint. Put one into the folder 'controlnet' of the data folder, or choose another checkpoint; maps can be made without." : "No ControlNet is here yet. Put one into the folder 'controlnet' of the data folder; maps can be made without.";
    say(none, why + useless.join(""));
  }

  api.choices().then((found) => ((around.choices = found), draw()), complain);
  return {
    /** @param {import("./live.js").Snapshot} snapshot */
    show({ installs }) {
      const moved = JSON.stringify(installs) !== JSON.stringify(around.installs);
      around.installs = installs;
      value.look();
      if (moved) draw();
    },
  };
}

/** What the value of a form's units holds. @param {string} text @returns {Unit[]} */
export function rowsOf(text) {
  try {
    const found = JSON.parse(text || "[]");
    return Array.isArray(found) ? found : found.units ?? [];
  } catch {
    return [];
  }
}
