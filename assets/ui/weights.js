/** What a preprocessor lacks: its weights, how large they are, and the ways to have them. */

import { api } from "./api.js";
import { tell } from "./bus.js";
import { state } from "./checkpoints.js";
import { button, h, say } from "./dom.js";
import { bytes } from "./format.js";
import { complain, copy } from "./toasts.js";

/**
 * @typedef {import("./live.js").Install} Install
 * @typedef {{label: string, repo: string, files: string[], size_bytes: number, licence: string, instead: string}} Needs
 */

/** @type {Promise<boolean>|null} */
let allowed = null;
/** Whether the person here may install anything. */
const mayInstall = () => (allowed ??= api.installs().then((told) => told.may_install, () => ((allowed = null), false)));

/**
 * @param {() => Install[]} installs what is arriving
 * @param {() => void} arrived they may be here by now
 * @param {(preprocessor: string) => void} replace takes another way
 */
export function weights(installs, arrived, replace) {
  /** @type {any} a preprocessor that lacks something */
  let row = null;
  /** @type {any} the one that stands in for it */
  let other = null;
  /** What was arriving when it was last looked at. */
  let before = "";

  const words = h("p", {});
  const bar = /** @type {HTMLProgressElement} */ (h("progress", { class: "po-progress", max: "1", hidden: true }));
  const how = h("p", { class: "po-soft", role: "status" });
  const wrong = h("p", { class: "po-wrong" });
  const get = button("Install", "down-to", install, { class: "po-button po-strong", hidden: true });
  const stop = button("Stop", "stop", () => turn("stop"), { hidden: true });
  const instead = button("", "swap", () => replace(other.id));
  const command = h("code", {});
  const hand = h("details", { class: "po-unit-more" }, h("summary", {}, "By hand"), h("p", { class: "po-soft" }, "Run this in the data folder while there is a network:"), command, h("div", { class: "po-unit-ways" }, button("Copy the command", "copy", () => copy(command.textContent ?? "", "The command")), button("Look again", "again", arrived)));
  const node = h("div", { class: "po-unit-lacking", hidden: true }, words, bar, how, wrong, h("div", { class: "po-unit-ways" }, get, stop, instead), hand);

  /** As `install.of_files` in studio/checkpoints names its source. */
  const mine = () => installs().find((one) => row && one.source === `${row.needs.repo}/${row.needs.files[0]}`);

  async function install() {
    say(wrong, "");
    /** @type {HTMLButtonElement} */ (get).disabled = true;
    try {
      const one = mine();
      await (one && one.state !== "done" ? api.turnInstall(one.id, "resume") : api.installWeights(row.id));
      tell("asked");
    } catch (error) {
      const { message, hint = "" } = /** @type {any} */ (error);
      say(wrong, `${message} ${hint}`);
    } finally {
      /** @type {HTMLButtonElement} */ (get).disabled = false;
    }
  }

  /** @param {"stop"|"resume"} verb */
  function turn(verb) {
    const one = mine();
    if (one) api.turnInstall(one.id, verb).then(() => tell("asked"), complain);
  }

  async function move() {
    const one = mine();
    const busy = one?.state === "running" || one?.state === "waiting";
    const some = one && one.state !== "done";
    bar.hidden = !some;
    bar.value = one?.size_bytes ? one.done_bytes / one.size_bytes : 0;
    say(how, some ? state(one) : "");
    if (one?.state === "failed") say(wrong, `${one.error?.message ?? ""} ${one.error?.hint ?? ""}`.trim());
    else if (some) say(wrong, "");
    stop.hidden = !busy;
    say(/** @type {HTMLElement} */ (get.lastElementChild), some ? "Go on" : `Install (${bytes(row.needs.size_bytes)})`);
    const now = one ? `${one.id}${one.state}` : "";
    if (one?.state === "done" && before && before !== now) arrived();
    before = now;
    get.hidden = busy || !(await mayInstall());
  }

  return {
    node,
    /** @param {any} now a preprocessor, or null @param {any[]} all of them */
    show(now, all) {
      row = now && !now.ready ? now : null;
      node.hidden = !row;
      if (!row) return void (before = "");
      const { label, repo, files, size_bytes, licence, instead: id } = /** @type {Needs} */ (row.needs);
      other = all.find((one) => one.id === id);
      say(words, `The weights of ${label} are not here: ${bytes(size_bytes)}, ${licence}, from ${repo} on Hugging Face.`);
      say(command, `hf download ${repo} ${files.join(" ")} --local-dir annotators/${repo.split("/").at(-1)}`);
      instead.hidden = !other;
      if (other) say(/** @type {HTMLElement} */ (instead.lastElementChild), `Use ${other.label} instead`);
      move();
    },
  };
}
