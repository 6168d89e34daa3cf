/** Which checkpoints there are, what is arriving, and where more come from. */

import { api } from "./api.js";
import { sure } from "./ask.js";
import { hear, tell } from "./bus.js";
import { button, h, keyed, say } from "./dom.js";
import { bytes, duration, plural } from "./format.js";
import { complain } from "./toasts.js";

/**
 * @typedef {import("./live.js").Install} Install
 * @typedef {{source: string, label: string, about: string, size_gb: number, licence: string, needs: string, gated: boolean}} Starter
 * @typedef {{label: string, source: string, size_bytes: number, licence: string, gated: boolean}} Lack
 * @typedef {{source: string, name: string, size_bytes: number, files: number, licence: string, free_bytes: number, there: string}} Plan
 */

/** @param {HTMLElement} root */
export function checkpoints(root) {
  const arriving = h("ul", { class: "po-arriving", "aria-label": "Installs" });
  const shelf = h("ul", { class: "po-shelf", "aria-label": "Checkpoints" });
  const count = h("h2", {}, "On the shelf");
  const starters = h("ul", { class: "po-starters", "aria-label": "Checkpoints to begin with" });
  const begin = h("section", { class: "po-section", hidden: true }, h("h2", {}, "To begin with"), starters);
  const wish = asking(() => told());
  const install = h("section", { class: "po-section po-install", hidden: true }, h("h2", {}, "Install"), wish.node, arriving);
  const refused = h("p", { class: "po-soft", hidden: true }, "The person at this machine installs checkpoints, and whoever they name with --allow-install.");
  root.append(h("div", { class: "po-checkpoints" }, refused, h("div", { class: "po-sources" }, install, begin), h("section", { class: "po-section" }, count, shelf)));

  /** Whether the person here may install anything. */
  let mine = false;
  const renew = (/** @type {HTMLElement} */ node, /** @type {any} */ one) => shelved(node, one, mine, told);
  /** Of installs that ran when they were last seen: their end is worth a look at the shelf. */
  let running = "";

  async function told() {
    tell("asked");
    await look();
  }

  async function look() {
    try {
      const [choices, known] = await Promise.all([api.choices(), api.installs()]);
      mine = known.may_install;
      install.hidden = !known.may_install;
      refused.hidden = known.may_install;
      begin.hidden = !known.may_install || !known.starters.length;
      const usable = choices.checkpoints.filter((/** @type {any} */ one) => !one.problem).length;
      say(count, `On the shelf (${usable})`);
      keyed(shelf, choices.checkpoints, (/** @type {any} */ one) => one.id, entry, renew);
      keyed(starters, known.starters, (/** @type {Starter} */ one) => one.source, (one) => starter(one, wish.look));
      show({ installs: known.installs });
    } catch (error) {
      complain(error);
    }
  }

  /** @param {{installs: Install[]}} snapshot */
  function show({ installs }) {
    keyed(arriving, installs, (one) => one.id, row, moved);
    const now = installs.map((one) => `${one.id}${one.state}`).join();
    if (running && running !== now && installs.some((one) => one.state === "done")) {
      api.forget();
      api.choices().then((choices) => keyed(shelf, choices.checkpoints, (/** @type {any} */ one) => one.id, entry, renew), complain);
    }
    running = now;
  }

  hear("shelf", look);
  look();
  return { show };
}

/**
 * The field that asks for a source: first its size is shown, then it is installed.
 * @param {() => void} begun
 */
function asking(begun) {
  const source = field("Address, or a name on Hugging Face", "owner/name, or https://….safetensors");
  const name = field("Name", "as the file is called");
  const sum = field("SHA-256", "as its page says it");
  const answer = h("div", { class: "po-answer", role: "status", "aria-live": "polite" });
  const go = button("Look", "search", () => look(), { class: "po-button", type: "submit" });
  const more = h("details", { class: "po-more" }, h("summary", {}, "Name and checksum"), h("div", { class: "po-pair" }, name.node, sum.node));
  const form = h("form", { class: "po-wish" }, h("div", { class: "po-wish-line" }, source.node, go), more, answer);
  form.addEventListener("submit", (event) => event.preventDefault());
  let asked = 0;

  const wish = () => ({ source: source.box.value.trim(), name: name.box.value.trim(), sha256: sum.box.value.trim() });

  /** @param {string} [given] */
  async function look(given) {
    if (given) {
      source.box.value = given;
      name.box.value = sum.box.value = "";
    }
    if (!wish().source) return source.box.focus();
    const ticket = ++asked;
    answer.replaceChildren(h("span", { class: "po-soft" }, "Asking …"));
    if (given) form.scrollIntoView({ block: "center", behavior: "smooth" });
    try {
      const plan = /** @type {Plan} */ (await api.lookAt(wish()));
      if (ticket === asked) answer.replaceChildren(...offer(plan));
    } catch (error) {
      if (ticket === asked) answer.replaceChildren(refusal(error));
    }
  }

  /** @param {Plan} plan */
  function offer(plan) {
    const fits = plan.size_bytes < plan.free_bytes;
    const start = button("Install", "down-to", install, { class: "po-button po-strong", disabled: !fits });
    return [
      h(
        "div",
        { class: "po-row-words" },
        h("b", {}, plan.name),
        h("span", { class: "po-soft" }, [bytes(plan.size_bytes), plan.files > 1 ? plural(plan.files, "file") : "", plan.licence && `licence ${plan.licence}`, `${bytes(plan.free_bytes)} free`].filter(Boolean).join(" · ")),
        plan.there && h("span", { class: "po-soft" }, `It is here already, as ${plan.there}. Installed again, it is there twice.`),
        !fits && h("span", { class: "po-wrong" }, "There is not enough room for it."),
      ),
      start,
    ];
  }

  async function install() {
    const ticket = ++asked;
    answer.replaceChildren(h("span", { class: "po-soft" }, "Beginning …"));
    try {
      await api.install(wish());
      if (ticket === asked) answer.replaceChildren();
      source.box.value = name.box.value = sum.box.value = "";
      begun();
    } catch (error) {
      answer.replaceChildren(refusal(error));
    }
  }

  for (const one of [source, name, sum]) one.box.addEventListener("input", () => (asked++, answer.replaceChildren()));
  return { node: form, look };
}

/** @param {string} label @param {string} placeholder */
function field(label, placeholder) {
  const box = /** @type {HTMLInputElement} */ (h("input", { type: "text", class: "po-input", placeholder, spellcheck: "false", autocapitalize: "off", autocomplete: "off" }));
  return { box, node: h("label", { class: "po-wish-field" }, h("span", {}, label), box) };
}

/** @param {any} error */
function refusal(error) {
  return h("p", { class: "po-wrong" }, `${error.message ?? "Something went wrong."} ${error.hint ?? ""}`);
}

/** @param {Install} one */
function row(one) {
  const bar = h("progress", { class: "po-progress", max: "1", "aria-label": one.name });
  return h("li", { class: "po-row po-arrival" }, h("div", { class: "po-row-words" }, h("b", { class: "po-clip" }, one.name), bar, h("span", { class: "po-soft po-state" }), h("span", { class: "po-soft po-note" }), h("span", { class: "po-wrong" })), h("div", { class: "po-turns" }));
}

/** @param {HTMLElement} node @param {Install} one */
function moved(node, one) {
  const find = (/** @type {string} */ what) => /** @type {HTMLElement} */ (node.querySelector(what));
  const bar = /** @type {HTMLProgressElement} */ (find("progress"));
  bar.hidden = one.state === "done" || (one.state === "failed" && !one.done_bytes);
  bar.value = one.size_bytes ? Math.min(1, one.done_bytes / one.size_bytes) : 0;
  say(find(".po-state"), state(one));
  say(find(".po-note"), one.note);
  say(find(".po-wrong"), one.state === "failed" ? `${one.error?.message ?? ""} ${one.error?.hint ?? ""}`.trim() : "");
  if (node.dataset.state === one.state) return;
  node.dataset.state = one.state;
  const turn = (/** @type {"stop"|"resume"} */ verb) => () => api.turnInstall(one.id, verb).then(() => tell("asked"), complain);
  const busy = one.state === "running" || one.state === "waiting";
  find(".po-turns").replaceChildren(
    ...(busy ? [button("Stop", "stop", turn("stop"))] : []),
    ...(one.state === "stopped" || one.state === "failed" ? [button(one.state === "failed" ? "Try again" : "Go on", "again", turn("resume"))] : []),
    ...(busy ? [] : [button(one.state === "done" ? "Dismiss" : "Remove", "close", () => remove(one), { quiet: true })]),
  );
}

/** @param {Install} one */
async function remove(one) {
  if (one.state !== "done" && one.done_bytes > 5e7 && !(await sure(`Remove ${one.name}?`, `${bytes(one.done_bytes)} have arrived already, and will have to be fetched again.`, "Remove"))) return;
  api.forgetInstall(one.id).then(() => tell("asked"), complain);
}

const PLACES = { checkpoints: "It is on the shelf.", loras: "It is a LoRA, and with the others.", embeddings: "It is an embedding, and with the others.", vae: "It is a VAE, and with the others; checkpoints that lacked it have it now.", controlnet: "It is a ControlNet, and with the others.", annotators: "The tab Control has it.", text_encoders: "Checkpoints that lacked it have it now." };

/** How far it is, in words. @param {Install} one */
export function state(one) {
  const arrived = `${bytes(one.done_bytes)} of ${bytes(one.size_bytes)}`;
  if (one.state === "done") return `${bytes(one.size_bytes)}. ${PLACES[/** @type {keyof typeof PLACES} */ (one.kind)] ?? "It is installed."}`;
  if (one.state === "waiting") return "Waiting for the one before it";
  if (one.state === "failed" && !one.done_bytes) return "Ended; nothing was kept of it";
  if (one.state !== "running") return `${one.state === "failed" ? "Ended" : "Stopped"} after ${arrived}`;
  if (!one.bytes_per_s) return arrived;
  return `${arrived} · ${bytes(one.bytes_per_s)}/s · ${duration((one.size_bytes - one.done_bytes) / one.bytes_per_s)} left`;
}

/** @param {Starter} one @param {(source: string) => void} look */
function starter(one, look) {
  return h(
    "li",
    { class: "po-card" },
    h("h3", {}, one.label),
    h("p", {}, one.about),
    h("dl", { class: "po-needs" }, ...facts([["Size", `about ${one.size_gb} GB`], ["Licence", one.licence], ["Needs", one.needs]])),
    one.gated && h("p", { class: "po-soft" }, "Its page asks for a login and for consent first."),
    button("Look", "search", () => look(one.source)),
  );
}

/** @param {[string, string][]} rows */
function facts(rows) {
  return rows.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]);
}

/** @param {any} one */
function entry(one) {
  return h("li", { class: "po-row po-entry" }, h("div", { class: "po-row-words" }, h("b", { class: "po-clip" }), h("span", { class: "po-soft" }), h("span", { class: "po-wrong" })), h("div", { class: "po-turns" }));
}

/** @param {HTMLElement} node @param {any} one @param {boolean} mayInstall @param {() => void} begun */
function shelved(node, one, mayInstall, begun) {
  const [label, about, wrong] = /** @type {HTMLElement[]} */ ([...(node.firstElementChild?.children ?? [])]);
  say(label, one.label);
  label.title = one.id;
  say(about, [one.family_label || one.family, bytes(one.size_bytes), one.problem ? "" : `${one.native_px} px`, one.id === one.label ? "" : one.id].filter(Boolean).join(" · "));
  say(wrong, one.problem ? `${one.problem} ${one.advice}` : "");
  const sources = mayInstall ? one.lacks.map((/** @type {Lack} */ lack) => lack.source).join() : "";
  if (node.dataset.lacks === sources) return;
  node.dataset.lacks = sources;
  /** @type {HTMLElement} */ (node.lastElementChild).replaceChildren(...(sources ? [lacking(one.lacks, begun)] : []));
}

/** What a checkpoint lacks, and one button that gets it. @param {Lack[]} lacks @param {() => void} begun */
function lacking(lacks, begun) {
  const whole = lacks.reduce((sum, one) => sum + one.size_bytes, 0);
  const wrong = h("p", { class: "po-wrong", role: "status" });
  const get = /** @type {HTMLButtonElement} */ (button(`Install what it lacks (${bytes(whole)})`, "down-to", install, { class: "po-button po-strong" }));

  async function install() {
    say(wrong, "");
    get.disabled = true;
    /** @type {string[]} */
    const problems = [];
    for (const one of lacks) {
      try {
        await api.install({ source: one.source, name: one.label, sha256: "" });
      } catch (error) {
        const { message = "Something went wrong.", hint = "" } = /** @type {any} */ (error);
        problems.push(`${one.label}: ${message} ${hint}`.trim());
      }
    }
    say(wrong, problems.join(" "));
    get.disabled = false;
    if (problems.length < lacks.length) begun();
  }

  const parts = lacks.map((one) => h("li", {}, `${one.label} · ${bytes(one.size_bytes)} · ${one.licence}${one.gated ? " · asks for a login" : ""}`));
  return h("div", { class: "po-lacking" }, h("ul", { class: "po-soft" }, ...parts), get, wrong);
}
