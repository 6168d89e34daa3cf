/** Light or dark: as the system says, until somebody says otherwise. */

import { button, icon } from "./dom.js";

const KEY = "pochade-look";
const system = matchMedia("(prefers-color-scheme: dark)");

function stored() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}

function dark() {
  const asked = new URLSearchParams(location.search).get("__theme");
  const said = stored() ?? (asked === "dark" || asked === "light" ? asked : null);
  return said ? said === "dark" : system.matches;
}

function apply() {
  const want = dark();
  if (document.body.classList.contains("dark") !== want) document.body.classList.toggle("dark", want);
  document.documentElement.classList.toggle("dark", want);
  document.documentElement.style.colorScheme = want ? "dark" : "light";
}

export function keepTheme() {
  apply();
  system.addEventListener("change", apply);
  // Gradio sets the class by itself once, after us
  new MutationObserver(apply).observe(document.body, { attributes: true, attributeFilter: ["class"] });
}

export function themeButton() {
  const toggle = button("Dark", "moon", flip, { quiet: true, class: "po-tool po-theme" });
  function label() {
    const name = dark() ? "Switch to light" : "Switch to dark";
    toggle.title = name;
    toggle.setAttribute("aria-label", name);
    toggle.replaceChildren(icon(dark() ? "sun" : "moon"));
  }
  function flip() {
    const next = dark() ? "light" : "dark";
    try {
      localStorage.setItem(KEY, next);
    } catch {
      document.body.classList.toggle("dark", next === "dark");
    }
    apply();
    label();
  }
  system.addEventListener("change", label);
  label();
  return toggle;
}
