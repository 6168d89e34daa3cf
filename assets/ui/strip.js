/** The latest pictures, small, in a row below the one that is being looked at. */

import { url } from "./api.js";
import { button, h, keyed } from "./dom.js";
import { hear } from "./bus.js";
import { labelOf, open } from "./tabs.js";
import { view } from "./viewer.js";

/** @param {HTMLElement} root */
export function strip(root) {
  const list = h("ul", { class: "po-strip", "aria-label": "Latest pictures" });
  const all = button("All in the gallery", "grid", () => open("gallery"), { class: "po-link" });
  const section = h("section", { class: "po-section" }, h("div", { class: "po-section-head" }, h("h2", {}, "Latest"), all), list);
  section.hidden = true;
  root.append(section);
  /** @type {{id: string, alt: string}[]} */
  let latest = [];
  const gone = new Set();
  hear("trashed", (ids) => (ids.forEach((/** @type {string} */ id) => gone.add(id)), draw()));
  hear("restored", (ids) => (ids.forEach((/** @type {string} */ id) => gone.delete(id)), draw()));

  function draw() {
    const rows = latest.filter((image) => !gone.has(image.id));
    section.hidden = !rows.length;
    keyed(
      list,
      rows,
      (image) => image.id,
      (image) =>
        h(
          "li",
          {},
          h(
            "button",
            { type: "button", "aria-label": `Open: ${image.alt.slice(0, 120)}`, onclick: () => view(latest.filter((one) => !gone.has(one.id)).map((one) => one.id), image.id) },
            h("img", { src: url.thumb(image.id), alt: "", loading: "lazy" }),
          ),
        ),
    );
  }

  return {
    /** @param {import("./live.js").Snapshot} snapshot */
    show(snapshot) {
      latest = [...snapshot.jobs, ...snapshot.recent].filter((job) => job.task !== "preprocess").flatMap((job) => [...job.images].reverse().map((image) => ({ id: image.id, alt: job.request.prompt || labelOf(job.task) || "Picture" })));
      draw();
    },
  };
}
