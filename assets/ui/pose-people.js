/** People as 18 joints each: what can be done to them. Nothing here changes what it is given. */

/**
 * @typedef {{x: number, y: number}} Point in px of the picture
 * @typedef {{x: number, y: number, sure: number}} Joint `sure` 0 … 1; one of 0 is hidden, and keeps its place for when it is shown
 * @typedef {Joint[]} Person 18 joints in OpenPose's order
 * @typedef {{width: number, height: number, people: Person[]}} Pose
 * @typedef {{points: string[], limbs: [number, number][], colours: number[][], limb_light: number, thickness: number}} Skeleton
 *   what `/api/choices` says of how people are drawn
 */

/** Somebody who stands and looks at us: x from the middle, y from the top, in heights. */
const STANDING = [
  [0, 0.08], [0, 0.18], [-0.1, 0.185], [-0.13, 0.34], [-0.14, 0.48], [0.1, 0.185], [0.13, 0.34], [0.14, 0.48], [-0.06, 0.5],
  [-0.065, 0.72], [-0.07, 0.94], [0.06, 0.5], [0.065, 0.72], [0.07, 0.94], [-0.018, 0.06], [0.018, 0.06], [-0.042, 0.07], [0.042, 0.07],
]; // prettier-ignore
const SHARE = 0.86;
const DIGITS = 100;

/** @param {any} data as OpenPose writes it; of several frames the first @returns {Pose} */
export function read(data) {
  const frame = Array.isArray(data) ? data[0] : data;
  const people = (frame?.people ?? []).map((/** @type {any} */ one) => {
    const numbers = one.pose_keypoints_2d;
    return STANDING.map((_, at) => ({ x: numbers[3 * at], y: numbers[3 * at + 1], sure: numbers[3 * at + 2] }));
  });
  return { width: frame?.canvas_width, height: frame?.canvas_height, people };
}

/** @param {Pose} pose as OpenPose writes it */
export function write(pose) {
  const near = (/** @type {number} */ value) => Math.round(value * DIGITS) / DIGITS;
  const people = pose.people.map((person) => ({ pose_keypoints_2d: person.flatMap(({ x, y, sure }) => [near(x), near(y), near(sure)]) }));
  return { people, canvas_width: pose.width, canvas_height: pose.height };
}

export const shown = (/** @type {Person} */ person) => person.filter((joint) => joint.sure > 0);

/** How sure somebody is, over the joints that are there. @param {Person} person */
export function sureness(person) {
  const seen = shown(person);
  return seen.length ? seen.reduce((sum, joint) => sum + joint.sure, 0) / seen.length : 0;
}

/** A person who stands upright, in the freest place of the pose. @param {Pose} pose @returns {Person} */
export function standing({ width, height, people }) {
  const tall = SHARE * Math.min(height, width / 0.4);
  const room = Math.max(0, width - 0.32 * tall);
  const taken = people.map((person) => middle(person).x);
  const places = [0.5, 0.25, 0.75, 0.1, 0.9, 0.375, 0.625].map((share) => width / 2 + (share - 0.5) * room);
  const free = (/** @type {number} */ x) => Math.min(...taken.map((other) => Math.abs(other - x)), width);
  const x = places.reduce((best, one) => (free(one) > free(best) + 1 ? one : best));
  return placed({ x, y: (height - tall) / 2, across: tall, down: tall });
}

/** @param {{x: number, y: number, across: number, down: number}} at @returns {Person} */
function placed({ x, y, across, down }) {
  return STANDING.map(([right, below]) => ({ x: x + right * across, y: y + below * down, sure: 1 }));
}

/**
 * Where a joint would be that was never seen, from those that were.
 * @param {Person} person @param {number} joint @param {Pose} pose @returns {Point}
 */
export function guessed(person, joint, pose) {
  const known = person.map((_, at) => at).filter((at) => person[at].sure > 0);
  if (known.length < 2) return standing({ ...pose, people: [] })[joint];
  const mean = (/** @type {(at: number) => number} */ of) => known.reduce((sum, at) => sum + of(at), 0) / known.length;
  const [cx, cy] = [mean((at) => STANDING[at][0]), mean((at) => STANDING[at][1])];
  const [px, py] = [mean((at) => person[at].x), mean((at) => person[at].y)];
  const spread = (/** @type {(at: number) => number} */ of) => Math.sqrt(mean((at) => of(at)));
  const size = spread((at) => (person[at].x - px) ** 2 + (person[at].y - py) ** 2) / Math.max(1e-6, spread((at) => (STANDING[at][0] - cx) ** 2 + (STANDING[at][1] - cy) ** 2));
  // somebody who turns their back has left and right the other way round
  const turned = mean((at) => (person[at].x - px) * (STANDING[at][0] - cx)) < 0 ? -1 : 1;
  const within = (/** @type {number} */ value, /** @type {number} */ most) => Math.max(0, Math.min(most - 1, value));
  return { x: within(px + turned * size * (STANDING[joint][0] - cx), pose.width), y: within(py + size * (STANDING[joint][1] - cy), pose.height) };
}

/** Whether a joint has a place, shown or not. @param {Joint} joint */
export const hasPlace = (joint) => joint.sure > 0 || joint.x !== 0 || joint.y !== 0;

/** The middle of what is shown of somebody. @param {Person} person @returns {Point} */
export function middle(person) {
  const seen = shown(person).length ? shown(person) : person;
  const [xs, ys] = [seen.map((joint) => joint.x), seen.map((joint) => joint.y)];
  return { x: (Math.min(...xs) + Math.max(...xs)) / 2, y: (Math.min(...ys) + Math.max(...ys)) / 2 };
}

/** @param {Pose} pose @param {number} who @param {Person} person */
export function withPerson(pose, who, person) {
  return { ...pose, people: pose.people.map((one, at) => (at === who ? person : one)) };
}

/** @param {Person} person @param {number} at @param {Partial<Joint>} changes */
export function withJoint(person, at, changes) {
  return person.map((joint, index) => (index === at ? { ...joint, ...changes } : joint));
}

/** Moves these joints, or all. @param {Person} person @param {Point} by @param {number[]} [which] */
export function moved(person, by, which) {
  return person.map((joint, at) => (which && !which.includes(at) ? joint : hasPlace(joint) ? { ...joint, x: joint.x + by.x, y: joint.y + by.y } : joint));
}

/** Larger or smaller, and turned clockwise, around the middle. @param {Person} person @param {number} factor @param {number} radians */
export function turned(person, factor, radians) {
  const { x, y } = middle(person);
  const [cos, sin] = [Math.cos(radians) * factor, Math.sin(radians) * factor];
  return person.map((joint) => (hasPlace(joint) ? { ...joint, x: x + (joint.x - x) * cos - (joint.y - y) * sin, y: y + (joint.x - x) * sin + (joint.y - y) * cos } : joint));
}

/** As in a mirror: what was the left hand is the right one. @param {Person} person @param {string[]} names */
export function mirrored(person, names) {
  const { x } = middle(person);
  const other = (/** @type {string} */ name) => (name.startsWith("left ") ? name.replace("left", "right") : name.replace("right", "left"));
  return names.map((name) => {
    const joint = person[names.indexOf(other(name))];
    return hasPlace(joint) ? { ...joint, x: 2 * x - joint.x } : joint;
  });
}

/** A joint and what hangs on it. @param {number} joint @param {[number, number][]} limbs from the neck outwards @returns {number[]} */
export function hanging(joint, limbs) {
  return [joint, ...limbs.filter(([from]) => from === joint).flatMap(([, to]) => hanging(to, limbs))];
}

/**
 * The joint nearest to a point; of the chosen person if one of theirs is within reach.
 * @param {Pose} pose @param {Point} point @param {number} reach px @param {number} chosen
 * @returns {{who: number, joint: number}|null}
 */
export function jointAt(pose, point, reach, chosen) {
  let best = null;
  let least = reach;
  const order = [chosen, ...pose.people.keys()].filter((who, at, all) => pose.people[who] && all.indexOf(who) === at);
  for (const who of order) {
    if (best && best.who === chosen) break;
    pose.people[who].forEach((joint, at) => {
      if (!(joint.sure > 0 || (who === chosen && hasPlace(joint)))) return;
      const far = Math.hypot(joint.x - point.x, joint.y - point.y) * (joint.sure > 0 ? 1 : 1.5);
      if (far <= least) [best, least] = [{ who, joint: at }, far];
    });
  }
  return best;
}

/** Whose limb lies at a point; -1 if nobody's. @param {Pose} pose @param {Point} point @param {number} reach px @param {[number, number][]} limbs */
export function limbAt(pose, point, reach, limbs) {
  return pose.people.findIndex((person) => limbs.some(([a, b]) => person[a].sure > 0 && person[b].sure > 0 && away(point, person[a], person[b]) <= reach));
}

/** How far a point is from a line between two others. @param {Point} point @param {Point} a @param {Point} b */
function away(point, a, b) {
  const [x, y] = [b.x - a.x, b.y - a.y];
  const share = Math.max(0, Math.min(1, ((point.x - a.x) * x + (point.y - a.y) * y) / (x * x + y * y || 1)));
  return Math.hypot(point.x - a.x - share * x, point.y - a.y - share * y);
}

/** What was, and what was taken back. @template T @param {T} first */
export function history(first) {
  let [past, future] = [/** @type {T[]} */ ([]), /** @type {T[]} */ ([])];
  let now = first;
  return {
    get now() {
      return now;
    },
    get canUndo() {
      return past.length > 0;
    },
    get canRedo() {
      return future.length > 0;
    },
    /** @param {T} next */
    push(next) {
      past = [...past, now].slice(-200);
      future = [];
      now = next;
    },
    undo() {
      const before = past.pop();
      if (before === undefined) return;
      future.push(now);
      now = before;
    },
    redo() {
      const after = future.pop();
      if (after === undefined) return;
      past.push(now);
      now = after;
    },
  };
}
