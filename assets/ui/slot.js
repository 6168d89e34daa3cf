/** A place for pictures in a form: chosen, dropped, pasted, taken, or sent from the gallery. */

import { url } from "./api.js";
import { camera } from "./camera.js";
import { HELD } from "./device.js";
import { button, h, icon, keyed, say } from "./dom.js";
import { field } from "./field.js";
import { carries, PICTURES } from "./files.js";
import { plural } from "./format.js";
import { complain, toast } from "./toasts.js";
import { upload } from "./upload.js";

/**
 * The value is the refs with a space between them; `data-several` allows more than one.
 * @param {HTMLElement} root
 */
export function slot(root) {
  const { tab = "", name = "", label = "", several } = root.dataset;
  /** @type {string[]} */
  let refs = [];
  let sending = 0;
  const value = field(tab, name, (text) => ((refs = text.split(" ").filter(Boolean)), draw()));

  const choose = input({ accept: PICTURES.join(","), id: `${tab}-${name}-file`, multiple: Boolean(several) });
  const folder = input({ webkitdirectory: true });
  const pick = button(several ? "Choose pictures" : "Choose a picture", "picture", () => choose.click());
  // what is held in the hand has no folders to choose
  const all = several && !HELD && button("Choose a folder", "folder", () => folder.click());
  const shutter = camera((photo) => take([photo]));
  const hint = h("p", { class: "po-soft" }, several ? "or drop or paste one or more here" : "or drop or paste one here");
  const empty = h("div", { class: "po-slot-empty" }, icon("picture"), h("div", { class: "po-slot-ways" }, pick, all, shutter?.button()), hint);
  const list = h("ul", { class: "po-slot-pictures" });
  const another = button(several ? "Add more" : "Change", "picture", () => choose.click(), { class: "po-link" });
  const clear = button(several ? "Remove all" : "Remove", "close", () => put([]), { class: "po-link" });
  const words = h("span", { class: "po-soft", role: "status" });
  const foot = h("div", { class: "po-slot-foot" }, words, another, shutter?.button({ class: "po-link" }), clear);
  const zone = h("div", { class: "po-slot", role: "group", "aria-label": label, tabindex: "-1" }, empty, list, foot, choose, folder, shutter?.input);
  root.append(h("div", { class: "po-slot-label", "aria-hidden": "true" }, label), zone);

  /** @param {Record<string, any>} props */
  function input(props) {
    const made = /** @type {HTMLInputElement} */ (h("input", { type: "file", class: "po-sr", tabindex: "-1", "aria-hidden": "true", ...props }));
    made.addEventListener("change", () => {
      const files = [...(made.files ?? [])];
      take(props.webkitdirectory ? ofFolder(files) : files);
      made.value = "";
    });
    return made;
  }

  /** @param {File[]} files */
  async function take(files) {
    const wanted = several ? files : files.slice(0, 1);
    if (!wanted.length) return;
    sending += wanted.length;
    draw();
    /** @type {string[]} */
    const made = [];
    for (const file of wanted) {
      try {
        made.push((await upload(file)).ref);
      } catch (error) {
        complain(error);
      }
      sending -= 1;
      draw();
    }
    if (made.length) put(several ? [...new Set([...refs, ...made])] : made);
  }

  /** @param {string[]} next */
  function put(next) {
    refs = next;
    value.set(refs.join(" "));
    draw();
  }

  function draw() {
    empty.hidden = refs.length > 0 || sending > 0;
    foot.hidden = !refs.length && !sending;
    zone.dataset.count = String(refs.length);
    say(words, sending ? `Sending ${plural(sending, "picture")} …` : refs.length > 1 ? `${plural(refs.length, "picture")}, a job each` : "");
    const held = zone.contains(document.activeElement);
    keyed(list, refs, (ref) => ref, picture);
    if (held && !refs.length && !sending) pick.focus();
  }

  /** @param {string} ref */
  function picture(ref) {
    const image = /** @type {HTMLImageElement} */ (h("img", { alt: label, draggable: "false" }));
    const size = h("span", { class: "po-slot-size" });
    const gone = h("p", { class: "po-slot-gone", role: "status", hidden: true }, "This picture is gone. Choose another one.");
    const node = h("li", {}, image, gone, size, several && button("Remove this picture", "close", () => put(refs.filter((one) => one !== ref)), { quiet: true }));
    image.addEventListener("load", () => say(size, `${image.naturalWidth} × ${image.naturalHeight}`));
    image.addEventListener("error", () => ((image.hidden = true), (gone.hidden = false)));
    image.src = url.picture(ref);
    return node;
  }

  let depth = 0;
  const mark = (/** @type {number} */ by) => zone.classList.toggle("po-over", (depth = Math.max(0, depth + by)) > 0);
  zone.addEventListener("dragenter", (event) => carries(event.dataTransfer) && mark(1));
  zone.addEventListener("dragleave", (event) => carries(event.dataTransfer) && mark(-1));
  zone.addEventListener("drop", async (event) => {
    if (!carries(event.dataTransfer)) return;
    event.preventDefault();
    mark(-depth);
    take(await dropped(/** @type {DataTransfer} */ (event.dataTransfer)));
  });
  zone.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length) return;
    event.preventDefault();
    event.stopPropagation();
    take(files);
  });
  // a picture pasted anywhere but into the prompt is meant for here, too
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length || event.defaultPrevented || !root.checkVisibility()) return;
    event.preventDefault();
    take(files);
  });
  draw();
  value.look();

  return { show: value.look };
}

/** The pictures among what was dropped, those in folders too. @param {DataTransfer} data @returns {Promise<File[]>} */
async function dropped(data) {
  const entries = [...data.items].map((item) => item.webkitGetAsEntry?.()).filter((entry) => entry !== null && entry !== undefined);
  if (!entries.some((entry) => entry.isDirectory)) return [...data.files];
  const files = (await Promise.all(entries.map(inside))).flat();
  return ofFolder(files);
}

/** The pictures among the files of a folder, in the order of their names. @param {File[]} files */
function ofFolder(files) {
  const found = files.filter((file) => PICTURES.includes(file.type));
  if (!found.length) toast("There is no PNG, JPEG or WebP picture in this folder.");
  return found.sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
}

/** @param {any} entry of a folder or a file @returns {Promise<File[]>} */
async function inside(entry) {
  if (entry.isFile) return [await new Promise((done, failed) => entry.file(done, failed))];
  const reader = entry.createReader();
  const files = [];
  // a reader gives its entries a hundred at a time
  for (;;) {
    const some = await new Promise((done, failed) => reader.readEntries(done, failed));
    if (!some.length) return files;
    files.push(...(await Promise.all(some.map(inside))).flat());
  }
}
