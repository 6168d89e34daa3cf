/** Pictures that come with the studio, to be taken with a click. */

import { api } from "./api.js";
import { button, h } from "./dom.js";
import { field } from "./field.js";
import { complain } from "./toasts.js";

/** `data-files` are names in assets/styles. @param {HTMLElement} root */
export function examples(root) {
  const { tab = "", name = "", files = "" } = root.dataset;
  const value = field(tab, name, () => {});
  const list = h("ul", { class: "po-examples", "aria-label": "Examples" });
  root.append(h("p", { class: "po-soft po-examples-words" }, "Or one of these:"), list);
  for (const file of files.split(" ").filter(Boolean)) {
    const address = `/assets/styles/${file}`;
    const word = file.replace(/\.webp$/, "");
    const take = button(`Take ${word}`, null, () => add(address), { quiet: true, class: "po-example" });
    take.append(h("img", { src: address, alt: "", loading: "lazy", draggable: "false" }), h("span", {}, word));
    list.append(h("li", {}, take));
  }

  /** @param {string} address */
  async function add(address) {
    try {
      const { ref } = await api.upload(await (await fetch(address)).blob());
      value.look();
      const refs = value.value.split(" ").filter(Boolean);
      if (!refs.includes(ref)) value.set([...refs, ref].join(" "));
    } catch (error) {
      complain(error);
    }
  }

  return { show: value.look };
}
