/** The part of a long grid that is near the window: only its tiles have elements. */

/** Drawn above and below the window, so that pictures are there before they come into view. */
export const MARGIN_PX = 1200;

/**
 * @template T
 * @param {HTMLElement} list a grid of square tiles; padding stands for those that are not drawn
 * @param {() => T[]} rows all there are
 * @param {(some: T[], first: number) => void} draw gives the list elements for these and for no others
 */
export function windowed(list, rows, draw) {
  let across = 1;
  let height = 0;
  let from = 0;
  let to = 0;
  let planned = 0;

  /** Tiles in a row, and pixels from one row to the next; as they were while the list is hidden. */
  function measure() {
    const style = getComputedStyle(list);
    const columns = style.gridTemplateColumns.split(" ").map(parseFloat);
    if (Number.isNaN(columns[0])) return;
    across = columns.length;
    height = columns[0] + parseFloat(style.rowGap);
  }

  /** @param {boolean} changed the rows themselves are others, or look otherwise */
  function update(changed) {
    measure();
    const all = rows();
    const lines = Math.ceil(all.length / across);
    const { top } = list.getBoundingClientRect();
    const line = (/** @type {number} */ y) => Math.min(lines, Math.max(0, height ? Math.floor((y - top) / height) : 0));
    const [first, last] = [line(-MARGIN_PX), line(innerHeight + MARGIN_PX + height)];
    const [begin, end] = [first * across, Math.min(all.length, last * across)];
    list.style.paddingTop = `${first * height}px`;
    list.style.paddingBottom = `${(lines - last) * height}px`;
    if (!changed && begin === from && end === to) return;
    [from, to] = [begin, end];
    draw(all.slice(from, to), from);
  }

  function scrolled() {
    planned = 0;
    // what scrolls while the list is hidden is another tab; it is measured again once it is shown
    if (list.offsetParent) update(false);
  }

  addEventListener("scroll", () => (planned ||= requestAnimationFrame(scrolled)), { passive: true });
  new ResizeObserver(() => update(false)).observe(list);

  return {
    draw: () => update(true),
    /** Tiles in a row. */
    across: () => across,
    /** Scrolls as little as it takes for a tile to be in view; gives its element. @param {number} place */
    reveal(place) {
      const { top } = list.getBoundingClientRect();
      const above = top + Math.floor(place / across) * height;
      const below = above + height - innerHeight;
      if (above < 0) scrollBy(0, above - height / 4);
      else if (below > 0) scrollBy(0, below + height / 4);
      update(false);
      return list.children[place - from];
    },
  };
}
