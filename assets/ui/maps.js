/** The maps of control units: made once for the same picture and settings, by whoever asks first. */

import { api, ApiError, NOT_MADE } from "./api.js";

/** @typedef {{kind: string, image?: string|null, map?: string|null, pose?: any, preprocessor?: string|null, params?: Record<string, any>,
 *   controlnet?: string|null, weight?: number, start?: number, end?: number, balance?: string, resize?: string}} Unit
 * @typedef {{ref: string, pose: any}} Made `ref` of the map, `pose` whom it shows as OpenPose writes it, or null
 */

/** What maps show. */
export const KINDS = /** @type {Record<string, string>} */ ({ edges: "Edges", depth: "Depth", pose: "Pose", normals: "Normals", segments: "Segments", tile: "Tile", shuffle: "Shuffle" });
const KEY = "pochade-maps";
const MOST_KEPT = 60;
/** @type {Map<string, Promise<Made>>} */
const asked = new Map();
/** Keys of those that could not be made. @type {Set<string>} */
const failed = new Set();

/** What a unit's map is made of; two units that agree in it have the same map. @param {Unit} unit @param {string|undefined} way id of the preprocessor */
export function madeOf(unit, way) {
  if (unit.pose) return JSON.stringify(["pose", unit.pose]);
  if (unit.image) return JSON.stringify([unit.image, way ?? null, Object.entries(unit.params ?? {}).sort()]);
  return JSON.stringify(["map", unit.map ?? null]);
}

/** The preprocessor of a unit: the one that it names, or the first of its kind that needs nothing. @param {Unit} unit @param {any} choices */
export function wayOf(unit, choices) {
  const known = choices.preprocessors.filter((/** @type {any} */ row) => row.kind === unit.kind);
  return known.find((/** @type {any} */ row) => row.id === unit.preprocessor) ?? known.find((/** @type {any} */ row) => row.ready && !row.needs);
}

/** @param {Unit} unit @param {any} choices @param {boolean} [again] also one that could not be made before @returns {Promise<Made>} */
export function mapOf(unit, choices, again = false) {
  if (!unit.pose && !unit.image) return Promise.resolve({ ref: unit.map ?? "", pose: null });
  const row = unit.pose ? null : wayOf(unit, choices);
  const way = row?.id;
  // asking all the same would be a job that fails, each time that somebody looks
  if (row && !row.ready) return Promise.reject(new ApiError(NOT_MADE, `The weights of ${row.needs.label} are not here.`, "Install them in Control."));
  const key = madeOf(unit, way);
  const known = asked.get(key);
  if (known && !(again && failed.has(key))) return known;
  failed.delete(key);
  const made = unit.pose ? api.pose(unit.pose) : taken(unit, way, key);
  asked.set(key, made);
  made.catch((error) => {
    // what could not be made of a picture is not asked for anew each time that somebody looks
    if (error instanceof ApiError && error.status === NOT_MADE) failed.add(key);
    else asked.delete(key);
  });
  return made;
}

/** A map that was made before, even on an earlier visit, or a new one. @param {Unit} unit @param {string|undefined} way @param {string} key */
async function taken(unit, way, key) {
  const kept = remembered();
  const before = kept[key];
  const record = before && (await api.image(before).catch(() => null));
  if (record && !record.trashed) return { ref: before, pose: record.facts.pose ?? null };
  const id = await api.map({ image: unit.image, preprocessor: way, params: unit.params ?? {} });
  const { facts } = await api.image(id);
  remember(key, id);
  return { ref: id, pose: facts.pose ?? null };
}

/** @returns {Record<string, string>} */
function remembered() {
  try {
    return JSON.parse(localStorage.getItem(KEY) ?? "{}");
  } catch {
    return {};
  }
}

/** @param {string} key @param {string} id */
function remember(key, id) {
  const { [key]: _, ...others } = remembered();
  try {
    localStorage.setItem(KEY, JSON.stringify(Object.fromEntries([...Object.entries(others), [key, id]].slice(-MOST_KEPT))));
  } catch {
    // without storage a map is made again on the next visit
  }
}

/** @param {unknown} error */
export function sentence(error) {
  return error instanceof ApiError ? [error.message, error.hint].filter(Boolean).join(" ") : "The map was not made. Try again.";
}
