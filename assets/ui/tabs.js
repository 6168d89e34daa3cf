/** What the modules know of the tabs, see `about` in studio/ui/shell.py. */

/** @typedef {{id: string, label: string, task: string|null, takesPicture: boolean, invitation: string}} TabInfo */

/** @returns {TabInfo[]} */
export function tabs() {
  const about = document.querySelector("#po-about");
  return JSON.parse(about instanceof HTMLElement ? about.dataset.tabs ?? "[]" : "[]");
}

/** The task that a tab's form asks for. @param {string} id */
export function taskOf(id) {
  return tabs().find((tab) => tab.id === id)?.task ?? null;
}

/** The tab whose form asks for a task, else the first one with a form, as `_form_tab` has it. @param {string} task */
export function tabOf(task) {
  const painted = tabs().filter((tab) => tab.task);
  return (painted.find((tab) => tab.task === task) ?? painted[0])?.id ?? "";
}

/** What the tab for a task is called; "" if there is only one such tab. @param {string} task */
export function labelOf(task) {
  const painted = tabs().filter((tab) => tab.task);
  return painted.length > 1 ? painted.find((tab) => tab.task === task)?.label ?? "" : "";
}

/** @param {string} id */
export function open(id) {
  document.getElementById(`tab-${id}-button`)?.click();
}
