/** Says that a link lets others in, until when, and ends it: for the person at this machine alone. */

import { api } from "./api.js";
import { sure } from "./ask.js";
import { button, h, say } from "./dom.js";
import { clock } from "./format.js";
import { complain, toast } from "./toasts.js";

export function shared() {
  const until = h("span", {});
  const stop = button("Stop", null, end, { "aria-label": "Stop sharing" });
  const chip = h("div", { class: "po-shared", role: "group", "aria-label": "Sharing", hidden: true }, until, stop);

  async function end() {
    if (!(await sure("Stop sharing?", "The link goes dead, guests are out at once, and what they are waiting for is not painted. A new link comes with the next start.", "Stop sharing"))) return;
    try {
      await api.stopSharing();
      show(null);
      toast("Sharing has stopped.");
    } catch (error) {
      complain(error);
    }
  }

  /** @param {import("./live.js").Snapshot["sharing"]} link */
  function show(link) {
    chip.hidden = !link;
    if (!link) return;
    chip.title = link.url;
    say(until, `Shared until ${clock(link.until)}`);
  }

  return { chip, show };
}
