/** The memory of the engine: what is in it, as a picture first; what stays; and all of it gone. */

import { api } from "./api.js";
import { sure } from "./ask.js";
import { button, h, keyed, say } from "./dom.js";
import { brief, bytes } from "./format.js";
import { complain } from "./toasts.js";

/**
 * @typedef {{id: string, label: string, family: string, size_bytes: number, where: string,
 *   held_bytes: number, swap_seconds: number|null, pinned: boolean}} Row
 * @typedef {{id: string, name: string, owners: string[], bytes: number, tier: string, mapped: boolean, leases: number}} Held
 * @typedef {{engine: string, device: string, dtype: string, exact: string, budget: number, total: number, free: number,
 *   anonymous: number, file: number, allocated: number, reserved: number, converted: number, weights: number,
 *   components: Held[], checkpoints: Row[]}} Memory
 */

const EVERY_MS = 1000;
/** Kind, what one is called, and the names of the components that are such; the first that fits counts. */
const KINDS = /** @type {[string, string, RegExp][]} */ ([
  ["paint", "Painting network", /^(unet|transformer|prior|decoder)/],
  ["text", "Text encoder", /^text_encoder|^tokenizer/],
  ["vae", "Autoencoder", /vae|vqgan|movq/],
  ["control", "ControlNet", /controlnet/],
  ["other", "Other network", /./],
]);

/** @param {string} name @returns {[string, string, RegExp]} */
function kindOf(name) {
  return /** @type {[string, string, RegExp]} */ (KINDS.find(([, , names]) => names.test(name)));
}

/** A component in words: "Text encoder 2". @param {string} name */
function called(name) {
  return [kindOf(name)[1], /_(\d)$/.exec(name)?.[1]].filter(Boolean).join(" ");
}

/** Asked once for all who show it; who may not know asks once. */
function store() {
  /** @type {Set<() => void>} */
  const watchers = new Set();
  let version = -1;
  let asked = 0;
  let timer = 0;
  const made = {
    /** @type {Memory|null} */
    known: null,
    refused: false,
    /** @param {() => void} fn */
    watch(fn) {
      watchers.add(fn);
    },
    async refresh() {
      clearTimeout(timer);
      asked = Date.now();
      try {
        made.known = await api.memory();
      } catch (error) {
        made.known = null;
        made.refused = /** @type {any} */ (error).status === 403;
      }
      for (const fn of watchers) fn();
    },
    /** @param {import("./live.js").Snapshot} snapshot */
    follow(snapshot) {
      if (made.refused || snapshot.version === version) return;
      version = snapshot.version;
      clearTimeout(timer);
      timer = window.setTimeout(made.refresh, Math.max(0, asked + EVERY_MS - Date.now()));
    },
  };
  return made;
}

export const memory = store();

/** Where a checkpoint is, and how long until it paints. @param {Row} row */
export function away(row) {
  const ready = !row.swap_seconds || row.swap_seconds < 0.05;
  if (row.where === "disk") return `on disk, ${row.swap_seconds === null ? "" : `about ${brief(row.swap_seconds)} to swap in`}`;
  const place = row.where === "device" ? "on the GPU" : "in memory";
  return ready ? `${place}, ready` : `${place}, about ${brief(row.swap_seconds ?? 0)} to swap in`;
}

/** @param {Row} row @param {boolean} on */
export async function pinned(row, on) {
  try {
    await api.pin(row.id, on);
    row.pinned = on;
    await memory.refresh();
  } catch (error) {
    complain(error);
  }
}

export function memoryButton() {
  const open = button("Memory", "memory", openMemory, { quiet: true, id: "po-memory", hidden: true });
  memory.watch(() => (open.hidden = memory.refused || !memory.known));
  return { button: open, show: memory.follow };
}

/** @type {HTMLDialogElement|null} */
let dialog = null;

export function openMemory() {
  dialog ??= build();
  memory.refresh();
  dialog.showModal();
}

function build() {
  const bar = h("div", { class: "po-memory-bar", role: "img" });
  const legend = h("ul", { class: "po-memory-legend" });
  const rows = h("ul", { class: "po-memory-rows", "aria-label": "Checkpoints" });
  const parts = h("ul", { class: "po-memory-parts" });
  const figures = h("dl", { class: "po-memory-figures" });
  const said = h("p", { class: "po-soft", role: "status" });
  const nothing = h("p", { class: "po-soft" }, "Nothing is in memory. A checkpoint is read when it is first used.");
  const unload = button("Unload all", "bin", empty, { id: "po-unload" });
  const close = button("Close", "close", () => made.close(), { quiet: true });
  const made = /** @type {HTMLDialogElement} */ (
    h(
      "dialog",
      { class: "po-ask po-memory", "aria-label": "Checkpoints and memory" },
      h("div", { class: "po-memory-head" }, h("h2", {}, "Checkpoints and memory"), close),
      bar,
      legend,
      h("h3", {}, "Checkpoints"),
      rows,
      h("details", { class: "po-memory-more" }, h("summary", {}, "What holds what"), nothing, parts, figures),
      h("div", { class: "po-memory-foot" }, said, unload),
    )
  );
  document.body.append(made);
  made.addEventListener("click", (event) => event.target === made && made.close());
  memory.watch(draw);

  async function empty() {
    if (!(await sure("Unload all?", "Every checkpoint leaves the memory, pinned ones too. The next job reads its own again.", "Unload all"))) return;
    unload.setAttribute("disabled", "");
    say(said, "Unloading …");
    try {
      const { done, before, after } = await api.unload();
      const process = (/** @type {any} */ one) => (one.device === "cuda" ? one.reserved : one.anonymous);
      say(said, done ? `Weights ${bytes(before.weights)} → ${bytes(after.weights)}, ${before.device === "cuda" ? "on the GPU" : "engine"} ${bytes(process(before))} → ${bytes(process(after))}` : "A job is running: all is unloaded right after it.");
      await memory.refresh();
    } catch (error) {
      say(said, "");
      complain(error);
    } finally {
      draw();
    }
  }

  function draw() {
    const now = memory.known;
    if (!now) return;
    const shares = sharesOf(now);
    const total = Math.max(1, shares.reduce((sum, one) => sum + one.bytes, 0));
    bar.setAttribute("aria-label", shares.map((one) => `${one.label} ${bytes(one.bytes)}`).join(", "));
    keyed(bar, shares, (one) => one.kind, (one) => h("i", { "data-kind": one.kind }), (node, one) => {
      node.style.flexGrow = String(one.bytes / total);
      node.title = `${one.label} ${bytes(one.bytes)}`;
    });
    bar.style.setProperty("--budget", now.budget ? `${Math.min(100, (100 * now.budget) / total)}%` : "-1px");
    keyed(legend, shares, (one) => one.kind, (one) => h("li", { "data-kind": one.kind }, h("i", { "aria-hidden": "true" }), h("span", {}, one.label), h("b", {})), (node, one) => {
      say(/** @type {HTMLElement} */ (node.lastChild), bytes(one.bytes));
    });
    keyed(rows, now.checkpoints, (row) => row.id, rowNode, rowShown);
    nothing.hidden = now.components.length > 0;
    parts.hidden = !now.components.length;
    const labels = new Map(now.checkpoints.map((row) => [row.id, row.label]));
    keyed(parts, [...now.components].sort((a, b) => b.bytes - a.bytes), (held) => held.id, () => h("li", {}, h("span", {}), h("span", { class: "po-soft" }), h("b", {})), (node, held) => {
      const [name, whose, size] = /** @type {HTMLElement[]} */ ([...node.children]);
      say(name, called(held.name));
      name.title = held.name;
      const owners = held.owners.map((id) => labels.get(id) ?? id.replace(/^controlnet:/, ""));
      say(whose, [owners.length > 1 ? `shared by ${owners.join(", ")}` : owners[0], held.leases ? "in use" : "", held.tier === "disk" ? "on disk" : "", held.mapped ? "in its file" : ""].filter(Boolean).join(" · "));
      say(size, bytes(held.bytes));
    });
    const told = [
      ["Number format", now.exact && now.exact !== now.dtype ? `${now.dtype}, ${now.exact} for small checkpoints and autoencoders` : now.dtype],
      ["Budget for weights", bytes(now.budget)],
      ...(now.converted ? [["Converted weights on disk", bytes(now.converted)]] : []),
      ["Engine, memory of its own", bytes(now.anonymous)],
      ["Engine, parts of files", bytes(now.file)],
      ...(now.device === "cuda" ? [["GPU, taken by tensors", bytes(now.allocated)], ["GPU, reserved", bytes(now.reserved)]] : []),
    ];
    figures.replaceChildren(...told.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
    unload.toggleAttribute("disabled", !now.components.length);
  }

  return made;
}

/** @param {Row} first */
function rowNode(first) {
  const pin = button("Keep in memory", "pin", () => {
    const row = memory.known?.checkpoints.find((one) => one.id === first.id);
    if (row) pinned(row, !row.pinned);
  }, { quiet: true });
  return h("li", { class: "po-memory-row" }, h("i", { class: "po-where", "aria-hidden": "true" }), h("div", {}, h("b", {}, first.label), h("span", { class: "po-soft" })), h("span", { class: "po-memory-where" }), pin);
}

/** @param {HTMLElement} node @param {Row} row */
function rowShown(node, row) {
  node.dataset.where = row.where;
  say(/** @type {HTMLElement} */ (node.querySelector(".po-soft")), [row.family, bytes(row.size_bytes)].join(" · "));
  say(/** @type {HTMLElement} */ (node.querySelector(".po-memory-where")), away(row));
  const pin = /** @type {HTMLElement} */ (node.querySelector("button"));
  pin.setAttribute("aria-pressed", String(row.pinned));
  pin.setAttribute("aria-label", `Keep ${row.label} in memory`);
}

/** @param {Memory} now @returns {{kind: string, label: string, bytes: number}[]} */
function sharesOf(now) {
  const home = now.device === "cuda" ? "device" : "ram";
  const held = now.components.filter((one) => one.tier === home);
  const shares = KINDS.map(([kind, label]) => ({
    kind,
    label: `${label}s`,
    bytes: held.filter((one) => kindOf(one.name)[0] === kind).reduce((sum, one) => sum + one.bytes, 0),
  }));
  const weights = shares.reduce((sum, one) => sum + one.bytes, 0);
  // what lies in its file is free to the system, which takes it back when it wants to
  const mapped = held.filter((one) => one.mapped).reduce((sum, one) => sum + one.bytes, 0);
  const rest = Math.max(0, (now.device === "cuda" ? now.reserved : now.anonymous) - (weights - mapped));
  const free = Math.max(0, now.free - mapped);
  const others = Math.max(0, now.total - free - weights - rest);
  return [
    ...shares.filter((one) => one.bytes > 0),
    { kind: "rest", label: "Rest of the engine", bytes: rest },
    { kind: "others", label: "Other programs", bytes: others },
    { kind: "free", label: "Free", bytes: free },
  ];
}
