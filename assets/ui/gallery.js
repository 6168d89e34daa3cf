/** Everything ever made: found by words and marks, walked by keys, a page at a time. */

import { api, url } from "./api.js";
import { sure } from "./ask.js";
import { hear, tell } from "./bus.js";
import { button, h, icon, keyed, say } from "./dom.js";
import { plural } from "./format.js";
import { complain, toast } from "./toasts.js";
import { discard, restore, view } from "./viewer.js";
import { MARGIN_PX, windowed } from "./windowed.js";

/** @typedef {import("./viewer.js").ImageJson} ImageJson */

const PAGE = 60;
const PAUSE_MS = 250;
const DAY_S = 86400;
/** The task whose pictures are left out until they are asked for. */
const MAPS = "preprocess";

/** @param {HTMLElement} root */
export function gallery(root) {
  /** @type {ImageJson[]} */
  let rows = [];
  /** @type {string|null} */
  let cursor = null;
  /** @type {Set<string>} */
  const chosen = new Set();
  let trashed = false;
  let asking = 0;
  let loading = false;
  let stale = true;
  let anchor = "";

  const fields = filters(() => reload());
  const bin = button("Trash", "bin", () => turn(!trashed), { "aria-pressed": "false" });
  const empty = button("Empty the trash", "bin", emptied, { hidden: true, class: "po-button po-danger" });
  const picked = h("div", { class: "po-picked", role: "group", "aria-label": "Chosen pictures", hidden: true });
  const list = h("ul", { class: "po-grid", id: "po-grid", "aria-label": "Pictures" });
  const nothing = h("p", { class: "po-nothing", hidden: true });
  const end = h("div", { class: "po-end", "aria-hidden": "true" });
  const told = h("p", { class: "po-sr", role: "status", "aria-live": "polite" });
  root.append(
    h("section", { class: "po-gallery", "aria-label": "Gallery" }, h("div", { class: "po-find", role: "search" }, ...fields.nodes, h("span", { class: "po-gap" }), empty, bin), picked, list, nothing, end, told),
  );

  // an observer would miss an end that goes away and comes back between two frames
  for (const moved of ["scroll", "resize"]) addEventListener(moved, () => fill(), { passive: true });
  new IntersectionObserver((seen) => seen.some((one) => one.isIntersecting) && stale && reload()).observe(root);

  const shown = () => root.offsetParent !== null;

  async function reload() {
    stale = false;
    cursor = null;
    const ticket = ++asking;
    loading = true;
    try {
      const page = await api.images({ ...fields.query(trashed), trashed: trashed || null, limit: PAGE });
      if (ticket !== asking) return;
      rows = page.images;
      cursor = page.next;
      for (const id of [...chosen]) if (!rows.some((row) => row.id === id)) chosen.delete(id);
      draw();
      say(told, rows.length ? `${rows.length}${cursor ? " or more" : ""} pictures` : "No pictures");
    } catch (error) {
      stale = true;
      complain(error);
    } finally {
      if (ticket === asking) loading = false;
    }
    fill();
  }

  async function further() {
    if (!cursor || loading) return;
    const ticket = asking;
    loading = true;
    try {
      const page = await api.images({ ...fields.query(trashed), trashed: trashed || null, limit: PAGE, cursor });
      if (ticket !== asking) return;
      const known = new Set(rows.map((row) => row.id));
      const fresh = page.images.filter((/** @type {ImageJson} */ row) => !known.has(row.id));
      rows = [...rows, ...fresh];
      cursor = page.next;
      grid.draw();
    } catch (error) {
      complain(error);
    } finally {
      if (ticket === asking) loading = false;
    }
    fill();
  }

  /** More, where the end of what is there is near. */
  function fill() {
    if (cursor && shown() && end.getBoundingClientRect().top < innerHeight + MARGIN_PX) further();
  }

  /** Whoever walks by keys goes on from the nearest tile when theirs is no longer drawn. */
  const grid = windowed(list, () => rows, (some, first) => {
    const held = /** @type {HTMLElement|null} */ (list.querySelector("li:focus-within"));
    const before = some.length && held ? rows.findIndex((row) => row.id === held.dataset.key) < first : false;
    keyed(list, some, (row) => row.id, tile, (node, row, place) => placed(refreshed(node, row), first + place));
    const lost = held && !held.isConnected ? tileAt(before ? 0 : -1) : null;
    rove(lost, { preventScroll: true });
  });

  const tileAt = (/** @type {number} */ place) => /** @type {HTMLElement|null} */ (list.children[place < 0 ? list.children.length + place : place]?.querySelector(".po-open") ?? null);

  function draw() {
    grid.draw();
    nothing.hidden = rows.length > 0;
    const none = trashed ? "The trash is empty." : "Nothing here yet. Pictures that you paint are kept here; control maps are shown by Maps.";
    say(nothing, fields.narrow() ? `No picture ${trashed ? "in the trash " : ""}fits. Try fewer words or filters.` : none);
    empty.hidden = !trashed || !(rows.length || fields.narrow());
    bar();
  }

  /** @param {ImageJson} row */
  function tile(row) {
    const name = row.prompt.slice(0, 160) || "Picture";
    const node = h(
      "li",
      { class: "po-thumb", dataset: { key: row.id } },
      h("button", { type: "button", class: "po-open", tabindex: "-1", "aria-label": name, title: name }, h("img", { src: url.thumb(row.id), alt: "", loading: "lazy", decoding: "async" })),
      h("span", { class: "po-starred", "aria-hidden": "true" }, icon("star")),
      h("button", { type: "button", class: "po-choose", tabindex: "-1", "aria-pressed": "false", "aria-label": `Choose: ${name}` }, icon("check")),
    );
    return node;
  }

  /** @param {HTMLElement} node @param {ImageJson} row */
  function refreshed(node, row) {
    const on = chosen.has(row.id);
    if (node.classList.contains("po-is-starred") !== row.starred) node.classList.toggle("po-is-starred");
    if (node.classList.contains("po-is-chosen") !== on) {
      node.classList.toggle("po-is-chosen");
      node.querySelector(".po-choose")?.setAttribute("aria-pressed", String(on));
    }
    return node;
  }

  /** Not all tiles have elements, so each says which of them it is. @param {HTMLElement} node @param {number} place */
  function placed(node, place) {
    node.setAttribute("aria-posinset", String(place + 1));
    node.setAttribute("aria-setsize", String(cursor ? -1 : rows.length));
  }

  list.addEventListener("click", (event) => {
    const target = /** @type {HTMLElement} */ (event.target);
    const id = /** @type {HTMLElement|null} */ (target.closest("li"))?.dataset.key;
    if (!id) return;
    if (event.shiftKey || target.closest(".po-choose") || event.ctrlKey || event.metaKey) choose(id, event.shiftKey);
    else view(ids(), id, async () => (await further(), ids()));
  });

  const ids = () => rows.map((row) => row.id);

  /** @param {string} id @param {boolean} range from the one chosen before to this one */
  function choose(id, range) {
    const [from, to] = [ids().indexOf(anchor), ids().indexOf(id)].sort((a, b) => a - b);
    if (range && from >= 0) for (const one of ids().slice(from, to + 1)) chosen.add(one);
    else if (!chosen.delete(id)) chosen.add(id);
    anchor = id;
    redraw();
  }

  /** Each tile shows its marks again. */
  function redraw() {
    grid.draw();
    bar();
  }

  function bar() {
    picked.hidden = !chosen.size;
    list.toggleAttribute("data-choosing", chosen.size > 0);
    if (!chosen.size) return picked.replaceChildren();
    const all = [...chosen];
    picked.replaceChildren(
      h("b", {}, `${plural(all.length, "picture")} chosen`),
      ...(trashed
        ? [button("Restore", "again", () => restore(all))]
        : [button("Star", "star", () => mark(all, true)), button("Unstar", "star", () => mark(all, false)), button("Delete", "bin", () => discard(all).catch(complain))]),
      button("Choose none", "close", () => (chosen.clear(), redraw())),
    );
  }

  /** @param {string[]} all @param {boolean} starred */
  async function mark(all, starred) {
    try {
      for (const id of all) {
        await api.star(id, starred);
        tell("starred", { id, starred });
      }
    } catch (error) {
      complain(error);
    }
  }

  /** One tile at a time can be reached by Tab; the arrows move between them. */
  function rove(/** @type {HTMLElement|null} */ to = null, /** @type {FocusOptions} */ how = {}) {
    const next = to ?? /** @type {HTMLElement|null} */ (list.querySelector(".po-open[tabindex='0']")) ?? /** @type {HTMLElement|null} */ (list.querySelector(".po-open"));
    for (const one of list.querySelectorAll("[tabindex='0']")) one.setAttribute("tabindex", "-1");
    next?.setAttribute("tabindex", "0");
    next?.parentElement?.querySelector(".po-choose")?.setAttribute("tabindex", "0");
    if (to) to.focus(how);
  }

  list.addEventListener("focusin", (event) => {
    const open = /** @type {HTMLElement} */ (event.target).closest("li")?.querySelector(".po-open");
    if (open instanceof HTMLElement && open.tabIndex !== 0) {
      rove();
      for (const one of list.querySelectorAll("[tabindex='0']")) one.setAttribute("tabindex", "-1");
      open.setAttribute("tabindex", "0");
      open.parentElement?.querySelector(".po-choose")?.setAttribute("tabindex", "0");
    }
  });

  /** @param {number} place */
  function goTo(place) {
    if (place in rows) rove(grid.reveal(place)?.querySelector(".po-open"), { preventScroll: true });
  }

  list.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const node = /** @type {HTMLElement|null} */ (/** @type {HTMLElement} */ (event.target).closest("li"));
    if (!node) return;
    const id = node.dataset.key ?? "";
    const place = rows.findIndex((one) => one.id === id);
    const across = grid.across();
    const steps = /** @type {Record<string, number>} */ ({ ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across, Home: -place, End: rows.length - 1 - place });
    const row = rows[place];
    if (event.key in steps) goTo(Math.min(rows.length - 1, Math.max(0, place + steps[event.key])));
    else if (event.key === "Delete" && !trashed) {
      goTo(place + 1 < rows.length ? place + 1 : place - 1);
      discard([id]).catch(complain);
    } else if (event.key === "s" && row) mark([id], !row.starred);
    else if (event.key === "x") choose(id, false);
    else return;
    event.preventDefault();
  });

  /** @param {boolean} to */
  function turn(to) {
    trashed = to;
    chosen.clear();
    bin.setAttribute("aria-pressed", String(to));
    reload();
  }

  async function emptied() {
    const which = fields.narrow() ? "All of its pictures are deleted for good, also those that are not shown here." : "Its pictures are deleted for good.";
    if (!(await sure("Empty the trash?", which, "Delete for good"))) return;
    try {
      await api.emptyTrash();
      const [left] = await Promise.all([api.images({ trashed: true, limit: 1 }), reload()]);
      toast(left.images.length ? "What jobs in the queue start from stays until they are done." : "The trash is empty.");
    } catch (error) {
      complain(error);
    }
  }

  hear("trashed", (/** @type {string[]} */ gone) => {
    if (trashed) return reload();
    rows = rows.filter((row) => !gone.includes(row.id));
    for (const id of gone) chosen.delete(id);
    draw();
    fill();
  });
  hear("restored", () => (shown() ? reload() : (stale = true)));
  hear("starred", (/** @type {{id: string, starred: boolean}} */ { id, starred }) => {
    rows = rows.map((row) => (row.id === id ? { ...row, starred } : row));
    redraw();
  });

  let seen = "";
  return {
    /** New pictures appear by themselves, unless somebody is far down or has chosen some. */
    show(/** @type {import("./live.js").Snapshot} */ snapshot) {
      const made = [...snapshot.jobs, ...snapshot.recent].flatMap((job) => job.images.map((image) => image.id)).join();
      if (made === seen) return;
      seen = made;
      if (shown() && scrollY < innerHeight && !chosen.size && !trashed) reload();
      else stale = true;
    },
  };
}

/** @param {() => void} changed */
function filters(changed) {
  const text = /** @type {HTMLInputElement} */ (h("input", { type: "search", id: "po-search", placeholder: "Search prompts", "aria-label": "Search prompts", maxlength: 200 }));
  const checkpoint = select("Checkpoint", "Every checkpoint");
  const task = select("Kind", "Every kind");
  const since = /** @type {HTMLInputElement} */ (h("input", { type: "date", "aria-label": "Made on or after" }));
  const until = /** @type {HTMLInputElement} */ (h("input", { type: "date", "aria-label": "Made on or before" }));
  const starred = button("Starred", "star", () => (starred.setAttribute("aria-pressed", String(!only())), changed()), { "aria-pressed": "false", id: "po-only-starred" });
  const only = () => starred.getAttribute("aria-pressed") === "true";
  const maps = button("Maps", "easel", () => (maps.setAttribute("aria-pressed", String(!mapped())), changed()), { "aria-pressed": "false", id: "po-with-maps", title: "Control maps are left out. Press to show them too." });
  const mapped = () => maps.getAttribute("aria-pressed") === "true";
  const more = h("details", { class: "po-filters" }, h("summary", {}, icon("sliders"), "Filters"), h("div", { class: "po-filter-row" }, checkpoint, task, h("label", {}, "From ", since), h("label", {}, "to ", until)));
  let timer = 0;
  text.addEventListener("input", () => {
    clearTimeout(timer);
    timer = window.setTimeout(changed, PAUSE_MS);
  });
  for (const field of [checkpoint, task, since, until]) field.addEventListener("change", changed);
  api.choices().then((found) => {
    checkpoint.append(...found.checkpoints.map((/** @type {any} */ row) => h("option", { value: row.id }, row.label)));
    task.append(...found.tasks.map((/** @type {any} */ row) => h("option", { value: row.id }, row.label)));
    task.hidden = found.tasks.length < 2;
  }, complain);
  return {
    nodes: [h("label", { class: "po-search" }, icon("search"), text), starred, maps, more],
    /** @param {boolean} all nothing is left out @returns {Record<string, any>} */
    query: (all) => ({
      // maps that were made to be looked at are no pictures that somebody painted
      without: all || mapped() || task.value ? null : MAPS,
      text: text.value.trim(),
      checkpoint: checkpoint.value,
      task: task.value,
      starred: only() || null,
      since: midnight(since.value),
      until: until.value ? midnight(until.value, 1) : null,
    }),
    narrow: () => Boolean(text.value.trim() || checkpoint.value || task.value || only() || since.value || until.value),
  };
}

/** @param {string} day @param {number} [days] later @returns {number|null} seconds since 1970 of that local midnight */
function midnight(day, days = 0) {
  if (!day) return null;
  return new Date(`${day}T00:00:00`).getTime() / 1000 + days * DAY_S;
}

/** @param {string} label @param {string} all */
function select(label, all) {
  return /** @type {HTMLSelectElement} */ (h("select", { class: "po-select", "aria-label": label }, h("option", { value: "" }, all)));
}
