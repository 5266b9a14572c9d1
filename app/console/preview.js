// SPDX-FileCopyrightText: 2026 The Twinlens authors
// SPDX-License-Identifier: MIT
/** Photos as the service sees them, also those that the browser cannot show or does not turn. */

import { call, imageForm } from "./api.js";
import { decoded, release } from "./images.js";

const HEAD_BYTES = 65_536;
const EXIF_FLAG_AT = 20; // in a WebP file, of the chunk VP8X
const EXIF_FLAG = 0x08;

/**
 * A picture of a photo, upright. Whoever is done with it calls ``release``.
 * @returns {Promise<HTMLImageElement|null>} null where neither browser nor service can show it.
 */
export async function photoOf(file, options) {
  const own = (await mayBeTurned(file)) ? null : await decoded(file);
  return own ?? previewOf(file, options);
}

/** The service's picture of a photo; null where it has none. */
export async function previewOf(file, { size = 1280, signal } = {}) {
  try {
    const body = await imageForm(file);
    const { response } = await call("POST", `api/preview?size=${size}`, { body, signal });
    return await decoded(response);
  } catch {
    signal?.throwIfAborted();
    return null; // what is wrong with the file is said when its depth is asked for
  }
}

/** The same photo, or the service's picture of it where its map shows that it was turned. */
export async function turnedAs(photo, map, file) {
  const isWide = ({ naturalWidth: width, naturalHeight: height }) => Math.sign(width - height);
  if (!photo || !map || isWide(photo) === isWide(map)) return photo;
  const upright = await previewOf(file);
  if (!upright) return photo;
  release(photo);
  return upright;
}

/** Browsers turn a JPEG as its EXIF data say, but not each of them a PNG or a WebP. */
async function mayBeTurned(file) {
  try {
    const head = new Uint8Array(await file.slice(0, HEAD_BYTES).arrayBuffer());
    const text = new TextDecoder("latin1").decode(head);
    // Without the first byte, 0x89: browsers take "latin1" for windows-1252, where it is "‰".
    if (text.startsWith("PNG", 1)) return text.includes("eXIf");
    const isExtended = text.startsWith("RIFF") && text.slice(8, 16) === "WEBPVP8X";
    return isExtended && (head[EXIF_FLAG_AT] & EXIF_FLAG) !== 0;
  } catch {
    return false; // the file cannot be read, which is said when it is sent
  }
}
