/** Keys that work wherever the focus is. */

export function keys() {
  document.addEventListener(
    "keydown",
    (event) => {
      if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || document.querySelector("dialog[open]")) return;
      const place = document.querySelector(".tabitem:not([style*='display: none']) .go button.primary");
      if (!(place instanceof HTMLElement)) return;
      event.preventDefault();
      event.stopPropagation();
      place.click();
    },
    true,
  );
}
