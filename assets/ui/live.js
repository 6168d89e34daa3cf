/**
 * The one connection that tells what moves: a stream while something does, a question every few
 * seconds while nothing does, nothing at all while the page is hidden.
 */

import { api } from "./api.js";

/**
 * @typedef {{id: string, task: string, state: string, request: Record<string, any>, notes: string[],
 *   images: {id: string, seed: number, index: number}[], error: {message: string, hint: string}|null,
 *   created: number, started: number|null, ended: number|null,
 *   progress?: {picture: number, pictures: number, step: number, steps: number, seconds_left: number|null}|null,
 *   loading?: string|null, preview?: number}} Job
 * @typedef {{version: number, warm: boolean, engine: {state: string, device: string|null, reason?: string},
 *   jobs: Job[], ahead: number, recent: Job[], sharing: {url: string, until: number}|null,
 *   shelf: number, installs: Install[]}} Snapshot
 * @typedef {{id: string, source: string, name: string, size_bytes: number, licence: string, kind: string,
 *   state: "waiting"|"running"|"stopped"|"failed"|"done", done_bytes: number, bytes_per_s: number,
 *   error: {message: string, hint: string}|null, note: string}} Install
 */

const IDLE_MS = 4000;
const WARMING_MS = 1500;
const LINGER_MS = 6000;
const SLOWEST_RETRY_MS = 15000;

/**
 * @param {(snapshot: Snapshot) => void} show
 * @param {(reachable: boolean) => void} reached
 */
export function follow(show, reached) {
  /** @type {EventSource|null} */
  let stream = null;
  let timer = 0;
  let failures = 0;
  let lingerUntil = 0;
  let warm = true;

  /** @param {Snapshot} snapshot */
  function take(snapshot) {
    failures = 0;
    warm = snapshot.warm;
    reached(true);
    show(snapshot);
    if (snapshot.jobs.length || snapshot.installs.some((one) => one.state === "running" || one.state === "waiting")) lingerUntil = Date.now() + LINGER_MS;
    const busy = Date.now() < lingerUntil;
    if (busy && !stream) open();
    if (!busy && stream) close();
  }

  function open() {
    if (document.hidden) return;
    close();
    stream = new EventSource(api.stream);
    const read = (/** @type {MessageEvent} */ event) => take(JSON.parse(event.data));
    stream.onmessage = read;
    stream.addEventListener("live", read);
    // the browser would retry by itself, every few seconds and for ever; asking first is kinder
    stream.onerror = () => {
      close();
      failed();
    };
  }

  function close() {
    stream?.close();
    stream = null;
    plan(warm ? IDLE_MS : WARMING_MS);
  }

  function failed() {
    failures += 1;
    if (failures > 1) reached(false);
    plan(Math.min(SLOWEST_RETRY_MS, 500 * 2 ** failures) * (0.75 + Math.random() / 2));
  }

  /** @param {number} ms */
  function plan(ms) {
    clearTimeout(timer);
    timer = window.setTimeout(poll, ms);
  }

  async function poll() {
    clearTimeout(timer);
    if (document.hidden) return;
    // while a stream is open this only notices that nothing moves any more
    if (stream && Date.now() < lingerUntil) return plan(IDLE_MS);
    try {
      take(await api.live());
      if (!stream) plan(warm ? IDLE_MS : WARMING_MS);
      else plan(IDLE_MS);
    } catch (error) {
      if (/** @type {any} */ (error).status === 401) location.reload();
      else failed();
    }
  }

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      stream?.close();
      stream = null;
      clearTimeout(timer);
    } else poll();
  });
  poll();

  return {
    /** Something was just asked for: look at once. */
    wake() {
      lingerUntil = Date.now() + LINGER_MS;
      if (!stream) poll();
    },
  };
}
