/** Controls drawn from a JSON schema: the settings of a preprocessor. */

import { h, say } from "./dom.js";

/**
 * @param {HTMLElement} root
 * @param {(values: Record<string, any>) => void} changed
 */
export function settings(root, changed) {
  let known = "";
  /** @type {Record<string, any>} */
  let values = {};
  /** @type {Map<string, (value: any) => void>} */
  const setters = new Map();

  return {
    /** @param {Record<string, any>|null|undefined} schema @param {Record<string, any>} now */
    show(schema, now) {
      values = now;
      const said = JSON.stringify(schema ?? null);
      if (said !== known) {
        known = said;
        setters.clear();
        const rules = Object.entries(schema?.properties ?? {});
        root.replaceChildren(
          ...rules.map(([name, rule]) => {
            const made = control(name, rule, (value) => changed((values = { ...values, [name]: value })));
            setters.set(name, (value) => made.set(value ?? rule.default));
            return made.node;
          }),
        );
      }
      for (const [name, set] of setters) set(now[name]);
    },
  };
}

/** @param {string} name @param {Record<string, any>} rule @param {(value: any) => void} changed */
function control(name, rule, changed) {
  const label = words(name);
  if (rule.enum) {
    const select = /** @type {HTMLSelectElement} */ (h("select", { class: "po-select" }, ...rule.enum.map((/** @type {string} */ value) => h("option", { value }, words(value)))));
    select.addEventListener("change", () => changed(select.value));
    return { node: field(label, rule, select), set: (/** @type {string} */ value) => void (select.value = value) };
  }
  if (rule.type === "boolean") {
    const box = /** @type {HTMLInputElement} */ (h("input", { type: "checkbox" }));
    box.addEventListener("change", () => changed(box.checked));
    return { node: field(label, rule, box), set: (/** @type {boolean} */ value) => void (box.checked = value) };
  }
  const whole = rule.type === "integer";
  const span = (rule.maximum ?? 100) - (rule.minimum ?? 0);
  const input = /** @type {HTMLInputElement} */ (h("input", { type: "range", min: rule.minimum ?? 0, max: rule.maximum ?? 100, step: whole ? 1 : span / 100 }));
  const shown = h("output", {});
  const told = () => say(shown, whole ? input.value : Number(input.value).toFixed(2));
  input.addEventListener("input", told);
  input.addEventListener("change", () => changed(Number(input.value)));
  return {
    node: field(label, rule, input, shown),
    set(/** @type {number} */ value) {
      if (document.activeElement !== input) input.value = String(value);
      told();
    },
  };
}

/** @param {string} label @param {Record<string, any>} rule @param {...HTMLElement} parts */
function field(label, rule, ...parts) {
  return h("label", { class: parts.length > 1 ? "po-field po-range" : "po-field", title: rule.description ?? null }, h("span", {}, label), ...parts);
}

/** @param {string} name */
function words(name) {
  const plain = name.replace(/_px$/, " (px)").replaceAll("_", " ");
  return plain[0].toUpperCase() + plain.slice(1);
}
