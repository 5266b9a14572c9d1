// SPDX-FileCopyrightText: 2026 The Twinlens authors
// SPDX-License-Identifier: MIT
/**
 * Colours for a depth map without touching a pixel: an 8-bit grey PNG and an indexed one hold the
 * same bytes, so a palette beside them is all it takes. Exact, at once, and of any size.
 * Format: https://www.w3.org/TR/png-3/.
 */

import { callForJson } from "./api.js";
import { crc32 } from "./crc.js";

const SIGNATURE_LENGTH = 8;
const HEADER_LENGTH = 25; // of the chunk IHDR: length, name, 13 bytes, checksum
const BIT_DEPTH_AT = 24;
const COLOUR_TYPE_AT = 25;
const GREY = 0;
const INDEXED = 3;

/**
 * @param {Blob} map 8-bit greyscale PNG.
 * @param {Uint8Array|null} colours 256 times red, green, blue, far to near; null leaves it grey.
 * @returns {Promise<Blob>} PNG of the same size.
 */
export async function painted(map, colours) {
  if (!colours) return map;
  const png = new Uint8Array(await map.arrayBuffer());
  if (png[BIT_DEPTH_AT] !== 8 || png[COLOUR_TYPE_AT] !== GREY) return map;
  const end = SIGNATURE_LENGTH + HEADER_LENGTH;
  const header = png.slice(SIGNATURE_LENGTH + 8, end - 4);
  header[COLOUR_TYPE_AT - SIGNATURE_LENGTH - 8] = INDEXED;
  const parts = [
    png.slice(0, SIGNATURE_LENGTH),
    chunk("IHDR", header),
    chunk("PLTE", colours),
    png.slice(end),
  ];
  return new Blob(parts, { type: "image/png" });
}

/** The service's own palettes by name: Map of name to Uint8Array(768). */
export async function loadPalettes() {
  const answer = await callForJson("GET", "ui/palettes.json", { isBackground: true });
  const tables = Object.entries(answer);
  return new Map(tables.map(([name, hex]) => [name, fromHex(hex)]));
}

const fromHex = (text) => Uint8Array.from(text.match(/../g), (pair) => parseInt(pair, 16));

function chunk(name, data) {
  const bytes = new Uint8Array(data.length + 12);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  bytes.set(new TextEncoder().encode(name), 4);
  bytes.set(data, 8);
  view.setUint32(data.length + 8, crc32(bytes.subarray(4, data.length + 8)));
  return bytes;
}
