/**
 * Masks as PNG files, without a canvas in between: no noise is added to what is read, and a picture
 * of 40 megapixels takes a byte a pixel, not four.
 */

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const ROWS_AT_ONCE = 64;
/** Bytes of a pixel by PNG's number for grey, RGB, grey with alpha, RGBA. */
const CHANNELS = /** @type {Record<number, number>} */ ({ 0: 1, 2: 3, 4: 2, 6: 4 });

/** @param {Uint8Array} pixels @param {number} width @param {number} height @returns {Promise<Blob>} 8 bit grey */
export async function writeGrey(pixels, width, height) {
  let row = 0;
  const rows = new ReadableStream({
    pull(controller) {
      const count = Math.min(ROWS_AT_ONCE, height - row);
      const part = new Uint8Array(count * (width + 1)); // each row begins with the number of its filter: 0, none
      for (let i = 0; i < count; i++, row++) part.set(pixels.subarray(row * width, (row + 1) * width), i * (width + 1) + 1);
      controller.enqueue(part);
      if (row >= height) controller.close();
    },
  });
  const packed = new Uint8Array(await new Response(rows.pipeThrough(new CompressionStream("deflate"))).arrayBuffer());
  const header = new Uint8Array(13);
  const fields = new DataView(header.buffer);
  fields.setUint32(0, width);
  fields.setUint32(4, height);
  header[8] = 8;
  const parts = [new Uint8Array(SIGNATURE), chunk("IHDR", header), chunk("IDAT", packed), chunk("IEND", new Uint8Array())];
  return new Blob(/** @type {BlobPart[]} */ (parts), { type: "image/png" });
}

/**
 * One channel of a PNG of 8 bits that is not interlaced, as the studio writes them; the last one is
 * the alpha of a picture that has one.
 * @param {ArrayBuffer} file
 * @returns {Promise<{width: number, height: number, channels: number, pixels: Uint8Array}>}
 */
export async function readLastChannel(file) {
  const bytes = new Uint8Array(file);
  const view = new DataView(file);
  const [width, height, depth, channels] = [view.getUint32(16), view.getUint32(20), bytes[24], CHANNELS[bytes[25]]];
  if (SIGNATURE.some((byte, i) => bytes[i] !== byte) || depth !== 8 || !channels || bytes[28]) throw new Error("not a PNG as the studio writes them");
  const data = [];
  for (let at = 8; at < bytes.length; at += 12 + view.getUint32(at)) {
    if (view.getUint32(at + 4) === 0x49444154) data.push(bytes.subarray(at + 8, at + 8 + view.getUint32(at)));
  }
  const pixels = new Uint8Array(width * height);
  const stride = width * channels;
  let above = new Uint8Array(stride + 1);
  let row = new Uint8Array(stride + 1);
  let filled = 0;
  let y = 0;
  const reader = new Blob(/** @type {BlobPart[]} */ (data)).stream().pipeThrough(new DecompressionStream("deflate")).getReader();
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    for (let at = 0; at < value.length && y < height; ) {
      const part = value.subarray(at, at + row.length - filled);
      row.set(part, filled);
      at += part.length;
      filled += part.length;
      if (filled < row.length) break;
      const line = row.subarray(1);
      unfilter(row[0], line, above.subarray(1), channels);
      for (let x = 0, from = channels - 1; x < width; x++, from += channels) pixels[y * width + x] = line[from];
      [above, row] = [row, above];
      filled = 0;
      y += 1;
    }
  }
  return { width, height, channels, pixels };
}

/** PNG, 9.2: each byte is told by its difference from its neighbours. */
function unfilter(/** @type {number} */ kind, /** @type {Uint8Array} */ line, /** @type {Uint8Array} */ above, /** @type {number} */ step) {
  if (kind === 0) return;
  for (let i = 0; i < line.length; i++) {
    const left = i < step ? 0 : line[i - step];
    const up = above[i];
    if (kind === 1) line[i] += left;
    else if (kind === 2) line[i] += up;
    else if (kind === 3) line[i] += (left + up) >> 1;
    else line[i] += paeth(left, up, i < step ? 0 : above[i - step]);
  }
}

function paeth(/** @type {number} */ left, /** @type {number} */ up, /** @type {number} */ corner) {
  const guess = left + up - corner;
  const toLeft = Math.abs(guess - left);
  const toUp = Math.abs(guess - up);
  const toCorner = Math.abs(guess - corner);
  if (toLeft <= toUp && toLeft <= toCorner) return left;
  return toUp <= toCorner ? up : corner;
}

/** @param {string} kind four letters @param {Uint8Array} data */
function chunk(kind, data) {
  const found = new Uint8Array(12 + data.length);
  const view = new DataView(found.buffer);
  view.setUint32(0, data.length);
  for (let i = 0; i < 4; i++) found[4 + i] = kind.charCodeAt(i);
  found.set(data, 8);
  view.setUint32(8 + data.length, crc(found.subarray(4, 8 + data.length)));
  return found;
}

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let found = byte;
  for (let bit = 0; bit < 8; bit++) found = found & 1 ? 0xedb88320 ^ (found >>> 1) : found >>> 1;
  return found;
});

function crc(/** @type {Uint8Array} */ bytes) {
  let found = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) found = TABLE[(found ^ bytes[i]) & 255] ^ (found >>> 8);
  return (found ^ 0xffffffff) >>> 0;
}
