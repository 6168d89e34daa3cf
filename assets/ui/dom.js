/** Elements without HTML strings: whatever a person wrote only ever becomes text. */

const SVG = "http://www.w3.org/2000/svg";
const ICONS = new URL("icons/icons.svg", import.meta.url);

/**
 * @param {string} tag
 * @param {Record<string, any>} [props] `class`, `on…` handlers, `dataset`, attributes; null and false leave one out
 * @param {...(Node|string|number|null|undefined|false)} children
 * @returns {HTMLElement}
 */
export function h(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "dataset") Object.assign(node.dataset, value);
    else if (name === "style") for (const [key, one] of Object.entries(value)) node.style.setProperty(key, String(one));
    else node.setAttribute(name === "className" ? "class" : name, value === true ? "" : String(value));
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== false).map(asChild));
  return node;
}

/** @param {any} child */
function asChild(child) {
  return child instanceof Node ? child : String(child);
}

/** @param {string} tag @param {Record<string, string|number>} attributes @param {...Node} children */
export function svg(tag, attributes, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value));
  node.append(...children);
  return node;
}

/** @param {string} name a symbol of icons/icons.svg */
export function icon(name) {
  return svg("svg", { class: "po-icon", "aria-hidden": "true" }, svg("use", { href: `${ICONS}#${name}` }));
}

/**
 * @param {string} label what it does, for eyes and for screen readers
 * @param {string|null} symbol
 * @param {(event: Event) => void} onclick
 * @param {Record<string, any>} [props] `quiet: true` shows the icon alone
 */
export function button(label, symbol, onclick, { quiet = false, ...props } = {}) {
  return h(
    "button",
    { type: "button", class: quiet ? "po-tool" : "po-button", title: quiet ? label : null, "aria-label": quiet ? label : null, onclick, ...props },
    symbol && icon(symbol),
    !quiet && h("span", {}, label),
  );
}

/**
 * Makes the children of `parent` follow `items`, keeping the elements (and the focus) of those that stay.
 * @template T
 * @param {HTMLElement} parent
 * @param {T[]} items
 * @param {(item: T) => string} key
 * @param {(item: T) => HTMLElement} create
 * @param {(node: HTMLElement, item: T, index: number) => void} [update]
 */
export function keyed(parent, items, key, create, update = () => {}) {
  const old = new Map([...parent.children].map((node) => [/** @type {HTMLElement} */ (node).dataset.key, node]));
  items.forEach((item, index) => {
    const name = key(item);
    let node = /** @type {HTMLElement} */ (old.get(name));
    old.delete(name);
    if (!node) {
      node = create(item);
      node.dataset.key = name;
    }
    update(node, item, index);
    if (parent.children[index] !== node) parent.insertBefore(node, parent.children[index] ?? null);
  });
  for (const node of old.values()) node.remove();
}

/** Sets text only where it differs, so that screen readers are not told twice. */
export function say(/** @type {HTMLElement} */ node, /** @type {string} */ text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * Shows a picture once it is decoded, in place of the one before: never a blank frame between.
 * @param {HTMLImageElement} image @param {string} url
 * @returns {Promise<boolean>} false if it could not be had, which the next call tries again
 */
export async function swap(image, url) {
  if (image.dataset.wanted === url) return true;
  image.dataset.wanted = url;
  const next = new Image();
  next.src = url;
  try {
    await next.decode();
  } catch {
    if (image.dataset.wanted === url) delete image.dataset.wanted;
    return false;
  }
  if (image.dataset.wanted === url) image.src = url;
  return true;
}
