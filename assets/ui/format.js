/** Numbers and requests as people say them. */

/** @param {number|null|undefined} seconds */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 1) return "less than a second";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

/** A short time as a figure. @param {number} seconds */
export function brief(seconds) {
  if (seconds < 10) return `${Math.max(0.1, seconds).toFixed(1)} s`;
  return duration(seconds);
}

/** `9.8 GB`, `120 MB`, `310 kB`, nothing as `0 MB`. @param {number} count */
export function bytes(count) {
  if (count >= 999.5e6) return `${(count / 1e9).toFixed(1)} GB`;
  if (count >= 999.5e3 || !count) return `${Math.round(count / 1e6)} MB`;
  return `${Math.max(1, Math.round(count / 1e3))} kB`;
}

/** @param {number} count @param {string} noun */
export function plural(count, noun) {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/** @param {Record<string, any>} request */
export function size(request) {
  return request.width && request.height ? `${request.width} × ${request.height}` : "";
}

/** The time of a day, with the day if it is not today. @param {number} seconds since 1970 */
export function clock(seconds) {
  const then = new Date(seconds * 1000);
  const today = then.toDateString() === new Date().toDateString();
  return then.toLocaleString([], { weekday: today ? undefined : "short", hour: "numeric", minute: "2-digit" });
}

/** @param {number} seconds since 1970 */
export function moment(seconds) {
  return new Date(seconds * 1000).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
}
