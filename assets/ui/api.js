/** Every address that the page asks, in one place. */

export class ApiError extends Error {
  /** @param {number} status @param {string} message @param {string} hint */
  constructor(status, message, hint) {
    super(message);
    this.status = status;
    this.hint = hint;
  }
}

/** @param {string} method @param {string} path @param {any} [body] a Blob is sent as it is, anything else as JSON */
async function reach(method, path, body) {
  const raw = body instanceof Blob;
  let answer;
  try {
    answer = await fetch(path, {
      method,
      headers: body === undefined ? {} : { "Content-Type": raw ? body.type || "application/octet-stream" : "application/json" },
      body: body === undefined ? undefined : raw ? body : JSON.stringify(body),
    });
  } catch {
    throw new ApiError(0, "The studio does not answer.", "See whether it is still running.");
  }
  if (answer.ok) return answer;
  const error = await answer.json().then((data) => data.error, () => null);
  throw new ApiError(answer.status, error?.message ?? `The studio answered ${answer.status}.`, error?.hint ?? "Try again.");
}

/** @param {string} method @param {string} path @param {any} [body] */
async function ask(method, path, body) {
  const answer = await reach(method, path, body);
  return answer.status === 204 ? null : answer.json();
}

/** @param {Record<string, any>} query */
function search(query) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return given.length ? `?${new URLSearchParams(given.map(([key, value]) => [key, String(value)]))}` : "";
}

/** The status of a map that nobody could make: that of an answer which says why. */
export const NOT_MADE = 422;
/** @type {Promise<any>|null} */
let choices = null;
const MAP_EVERY_MS = 250;

export const api = {
  live: () => ask("GET", "/api/live"),
  stream: "/api/stream",
  choices: () => (choices ??= ask("GET", "/api/choices").catch((error) => ((choices = null), Promise.reject(error)))),
  /** A form as it was left. @param {string} tab @returns {Promise<Record<string, any>>} */
  draft: (tab) => ask("GET", `/api/drafts/${tab}`),
  /** The choices as they are by now. */
  again: () => ((choices = null), api.choices()),
  /** What there is to choose from has changed. */
  forget: () => void (choices = null),
  installs: () => ask("GET", "/api/installs"),
  /** @param {{source: string, name: string, sha256: string}} wish */
  lookAt: (wish) => ask("POST", "/api/installs/look", wish),
  /** @param {{source: string, name: string, sha256: string}} wish */
  install: (wish) => ask("POST", "/api/installs", wish),
  /** @param {string} preprocessor whose weights are missing */
  installWeights: (preprocessor) => ask("POST", `/api/preprocessors/${preprocessor}/install`),
  /** @param {string} id @param {"stop"|"resume"} verb */
  turnInstall: (id, verb) => ask("POST", `/api/installs/${id}/${verb}`),
  /** @param {string} id */
  forgetInstall: (id) => ask("DELETE", `/api/installs/${id}`),
  /** @param {string} text @param {string|null} checkpoint */
  tokens: (text, checkpoint) => ask("POST", "/api/tokens", { text, checkpoint }),
  /** What a request would take. @param {Record<string, any>} fields */
  estimate: (fields) => ask("POST", "/api/estimate", fields),
  memory: () => ask("GET", "/api/memory"),
  unload: () => ask("POST", "/api/memory/unload"),
  /** @param {string} checkpoint @param {boolean} pinned */
  pin: (checkpoint, pinned) => ask("POST", "/api/memory/pin", { checkpoint, pinned }),
  /** @returns {Promise<{presets: import("./presets.js").Preset[]}>} styles in words */
  presets: () => ask("GET", "/api/presets"),
  /** @param {Record<string, string>} fields @returns {Promise<import("./presets.js").Preset>} */
  savePreset: (fields) => ask("PUT", "/api/presets", fields),
  /** @param {string} name */
  removePreset: (name) => ask("DELETE", `/api/presets${search({ name })}`),
  /** @param {File} file A1111's styles.csv @returns {Promise<{presets: import("./presets.js").Preset[]}>} */
  importPresets: (file) => ask("POST", "/api/presets/styles.csv", new Blob([file], { type: "text/csv" })),
  /** @param {Blob} file */
  settings: (file) => ask("POST", "/api/settings-from-picture", file),
  /** @param {Blob} file @returns {Promise<{ref: string}>} */
  upload: (file) => ask("POST", "/api/inputs", file),
  /**
   * The mask that a request with these fields would use.
   * @param {Record<string, any>} fields @returns {Promise<{file: ArrayBuffer, share: number, box: number[]}>} a grey PNG
   */
  async mask(fields) {
    const answer = await reach("POST", "/api/mask", fields);
    const box = (answer.headers.get("X-Mask-Box") ?? "").split(" ").map(Number);
    return { file: await answer.arrayBuffer(), share: Number(answer.headers.get("X-Mask-Share")), box };
  },
  /** As the pipeline sees it: upright, 8 bit. @param {string} ref @returns {Promise<ArrayBuffer>} */
  picture: async (ref) => (await reach("GET", url.picture(ref))).arrayBuffer(),
  /**
   * Makes a control map, as a job; the id of the picture that it is.
   * @param {Record<string, any>} fields @returns {Promise<string>}
   */
  async map(fields) {
    const { id } = await ask("POST", "/api/jobs", { task: "preprocess", ...fields });
    for (;;) {
      const job = await ask("GET", `/api/jobs/${id}`);
      if (job.images.length) return job.images[0].id;
      if (!["queued", "running"].includes(job.state)) throw new ApiError(job.state === "failed" ? NOT_MADE : 0, job.error?.message ?? "The map was not made.", job.error?.hint ?? "Try again.");
      await new Promise((done) => setTimeout(done, MAP_EVERY_MS));
    }
  },
  /**
   * Draws people as a map, which is stored.
   * @param {any} people as OpenPose writes them @param {{width: number, height: number}} [size] that they are brought to
   * @returns {Promise<{ref: string, pose: any, width: number, height: number}>}
   */
  pose: (people, size) => ask("POST", `/api/pose${search({ width: size?.width, height: size?.height })}`, people),
  /** @param {string} id */
  cancel: (id) => ask("DELETE", `/api/jobs/${id}`),
  /** @param {string} id @param {string|null} before */
  move: (id, before) => ask("POST", `/api/jobs/${id}/move`, { before }),
  /** @param {string} id */
  rerun: (id) => ask("POST", `/api/jobs/${id}/rerun`),
  /** @param {Record<string, any>} query */
  images: (query) => ask("GET", `/api/images${search(query)}`),
  /** @param {string} id */
  image: (id) => ask("GET", `/api/images/${id}`),
  /** @param {string} id @param {boolean} starred */
  star: (id, starred) => ask("PATCH", `/api/images/${id}`, { starred }),
  /** @param {string[]} ids */
  trash: (ids) => ask("POST", "/api/images/trash", { ids }),
  /** @param {string[]} ids */
  restore: (ids) => ask("POST", "/api/images/restore", { ids }),
  stopSharing: () => ask("POST", "/api/sharing/stop"),
  emptyTrash: () => ask("DELETE", "/api/trash"),
};

export const url = {
  /** @param {string} id @param {number} version */
  preview: (id, version) => `/api/jobs/${id}/preview?v=${version}`,
  /** @param {string} id */
  file: (id) => `/api/images/${id}/file`,
  /** @param {string} id */
  thumb: (id) => `/api/images/${id}/thumb`,
  /** @param {string} ref of an upload, or the id of a picture */
  picture: (ref) => `/api/pictures/${ref}`,
};
