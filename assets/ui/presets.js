/** Styles in words: chosen as chips, tried on the prompt as it is typed, written and kept. */

import { api } from "./api.js";
import { sure } from "./ask.js";
import { HELD } from "./device.js";
import { button, h, keyed, say } from "./dom.js";
import { field } from "./field.js";
import { plural } from "./format.js";
import { complain, toast } from "./toasts.js";

/** @typedef {{name: string, prompt: string, negative_prompt: string, own: boolean}} Preset */

const PLACE = "{prompt}";

/** As studio/prompts/presets.py has it. @param {string} style @param {string} prompt */
function merged(style, prompt) {
  if (style.includes(PLACE)) return style.split(PLACE).join(prompt);
  return [prompt.trim(), style.trim()].filter(Boolean).join(", ");
}

/** The value is a JSON list of names. @param {HTMLElement} root */
export function presets(root) {
  const { tab = "", name = "" } = root.dataset;
  /** @type {string[]} */
  let chosen = [];
  /** @type {Preset[]} */
  let known = [];
  const value = field(tab, name, (text) => ((chosen = parsed(text)), draw()));

  const chips = h("ul", { class: "po-chips" });
  const open = button("Styles", "plus", () => fold(), { id: `${tab}-styles-open`, "aria-expanded": "false", "aria-controls": `${tab}-styles-panel` });
  const outcome = h("p", { class: "po-soft po-outcome", id: `${tab}-styles-outcome`, "aria-live": "polite" });
  const find = /** @type {HTMLInputElement} */ (h("input", { type: "search", class: "po-input", placeholder: "Find a style", "aria-label": "Find a style", oninput: () => list() }));
  const rows = h("ul", { class: "po-presets" });
  const file = /** @type {HTMLInputElement} */ (h("input", { type: "file", accept: ".csv,text/csv", class: "po-sr", tabindex: "-1", "aria-hidden": "true", id: `${tab}-styles-file`, onchange: () => take() }));
  const editor = h("div", { class: "po-preset-editor" });
  const foot = h(
    "div",
    { class: "po-presets-foot" },
    button("New style", "plus", () => edit(null)),
    button("Import styles.csv", "up-from", () => file.click(), { class: "po-link" }),
    h("a", { class: "po-link", href: "/api/presets/styles.csv", download: "styles.csv" }, "Export mine"),
    file,
  );
  const panel = h("div", { class: "po-presets-panel", id: `${tab}-styles-panel`, hidden: true }, find, rows, foot, editor);
  root.append(h("div", { class: "po-chips-row" }, open, chips), outcome, panel);

  /** @param {string} text @returns {string[]} */
  function parsed(text) {
    try {
      const found = JSON.parse(text || "[]");
      return Array.isArray(found) ? found.filter((one) => typeof one === "string") : [];
    } catch {
      return [];
    }
  }

  /** @param {string[]} next */
  function put(next) {
    chosen = next;
    value.set(next.length ? JSON.stringify(next) : "");
    draw();
  }

  /** @param {string} one */
  function toggle(one) {
    put(chosen.includes(one) ? chosen.filter((other) => other !== one) : [...chosen, one]);
  }

  async function load() {
    try {
      known = (await api.presets()).presets;
    } catch (error) {
      complain(error);
    }
    draw();
  }

  function fold(shown = panel.hidden) {
    panel.hidden = !shown;
    open.setAttribute("aria-expanded", String(shown));
    if (shown) {
      load();
      // which would bring up the keyboard of a machine that is held in the hand
      if (!HELD) find.focus();
    }
  }

  function draw() {
    chips.replaceChildren(
      ...chosen.map((one) => h("li", {}, h("button", { type: "button", class: "po-chip", "aria-label": `Remove the style ${one}`, onclick: () => toggle(one) }, one, h("span", { "aria-hidden": "true" }, "×")))),
    );
    if (!panel.hidden) list();
    tell();
  }

  function list() {
    const wanted = find.value.trim().toLowerCase();
    const shown = known.filter((one) => `${one.name} ${one.prompt}`.toLowerCase().includes(wanted));
    rows.replaceChildren(
      ...shown.map((one) =>
        h(
          "li",
          {},
          h("button", { type: "button", class: "po-preset", title: one.prompt, "aria-pressed": String(chosen.includes(one.name)), onclick: () => toggle(one.name) }, one.name),
          button(one.own ? `Edit ${one.name}` : `Make ${one.name} your own`, "sliders", () => edit(one), { quiet: true }),
        ),
      ),
    );
    if (!shown.length) rows.append(h("li", { class: "po-soft" }, "No style is called that."));
  }

  /** What the prompt becomes, as far as the page knows the styles. */
  function tell() {
    const styles = chosen.map((one) => known.find((other) => other.name === one)).filter((one) => one !== undefined);
    outcome.hidden = !chosen.length;
    if (!chosen.length) return;
    const read = (/** @type {string} */ id) => /** @type {HTMLTextAreaElement|null} */ (document.querySelector(`#${tab}-${id} textarea`))?.value ?? "";
    const prompt = styles.reduce((text, style) => merged(style.prompt, text), read("prompt") || "…");
    const negative = styles.reduce((text, style) => merged(style.negative_prompt, text), read("negative-prompt"));
    outcome.replaceChildren(h("b", {}, "Becomes: "), prompt, ...(negative ? [h("br"), h("b", {}, "Not: "), negative] : []));
  }

  /** @param {Preset|null} one */
  function edit(one) {
    const fields = { name: one?.name ?? "", prompt: one?.prompt ?? PLACE, negative_prompt: one?.negative_prompt ?? "" };
    const title = /** @type {HTMLInputElement} */ (h("input", { class: "po-input", id: `${tab}-style-name`, value: fields.name, maxlength: "100" }));
    const area = (/** @type {"prompt"|"negative_prompt"} */ key) => {
      const made = /** @type {HTMLTextAreaElement} */ (h("textarea", { class: "po-input", rows: "2", id: `${tab}-style-${key}` }));
      made.value = fields[key];
      return made;
    };
    const prompt = area("prompt");
    const negative = area("negative_prompt");
    const close = () => editor.replaceChildren();
    const save = async () => {
      try {
        const kept = await api.savePreset({ name: title.value, prompt: prompt.value, negative_prompt: negative.value });
        if (one?.own && one.name !== kept.name) {
          await api.removePreset(one.name);
          if (chosen.includes(one.name)) put(chosen.map((other) => (other === one.name ? kept.name : other)));
        }
        close();
        await load();
      } catch (error) {
        complain(error);
      }
    };
    const remove = async () => {
      if (!one || !(await sure(`Delete the style ${one.name}?`, "Pictures that were painted with it stay as they are.", "Delete"))) return;
      try {
        await api.removePreset(one.name);
        close();
        await load();
        if (!known.some((other) => other.name === one.name)) put(chosen.filter((other) => other !== one.name));
      } catch (error) {
        complain(error);
      }
    };
    const row = (/** @type {string} */ label, /** @type {HTMLElement} */ box) => h("label", {}, h("span", {}, label), box);
    editor.replaceChildren(
      row("Name", title),
      row(`Prompt: ${PLACE} stands for yours`, prompt),
      row("Negative prompt", negative),
      h("div", { class: "po-presets-foot" }, button("Save style", null, save, { class: "po-button po-primary" }), button("Cancel", null, close), one?.own && button("Delete", "bin", remove, { class: "po-link" })),
    );
    title.focus();
  }

  async function take() {
    const [given] = file.files ?? [];
    file.value = "";
    if (!given) return;
    try {
      const before = known.length;
      known = (await api.importPresets(given)).presets;
      const more = known.length - before;
      toast(`${given.name} was read: ${more ? plural(more, "new style") : "no new styles"}.`);
      draw();
    } catch (error) {
      complain(error);
    }
  }

  /** @type {HTMLElement} */ (root.closest(".workplace")).addEventListener("input", () => chosen.length && tell());
  load();
}
