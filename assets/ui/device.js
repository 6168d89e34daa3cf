/** The machine that the page is seen on. */

/** Held in the hand: there are fingers and no keys, and it takes photographs. */
export const HELD = matchMedia("(pointer: coarse)").matches;
