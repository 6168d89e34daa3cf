/** The top of the page: the name, how the studio is, light or dark. */

import { h, icon, say } from "./dom.js";
import { memoryButton } from "./memory.js";
import { shared } from "./shared.js";
import { themeButton } from "./theme.js";

/** @param {HTMLElement} root */
export function bar(root) {
  const words = h("span", { class: "po-status-words" });
  const status = h("span", { class: "po-status", role: "status", "data-state": "ready" }, h("i", { "aria-hidden": "true" }), words);
  const sharing = shared();
  const memory = memoryButton();
  root.append(
    h("header", { class: "po-bar" }, h("h1", { class: "po-name" }, icon("mark"), h("span", {}, "Pochade")), sharing.chip, status, memory.button, themeButton()),
  );

  /** @param {string} state @param {string} text @param {string} [title] */
  function set(state, text, title = "") {
    status.dataset.state = state;
    status.title = title;
    say(words, text);
  }

  return {
    /** @param {import("./live.js").Snapshot} snapshot */
    show(snapshot) {
      const { engine } = snapshot;
      sharing.show(snapshot.sharing);
      memory.show(snapshot);
      if (snapshot.warm) set("ready", "Ready", engine.device ? `Painting on ${engine.device}` : "");
      else if (engine.state === "down") set("down", "Engine stopped", engine.reason);
      else set("warming", "Warming up", "Jobs may be queued already");
    },
    lost() {
      set("down", "Reconnecting …", "The studio does not answer at the moment");
    },
  };
}
