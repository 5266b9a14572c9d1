// SPDX-FileCopyrightText: 2026 The Twinlens authors
// SPDX-License-Identifier: MIT
/**
 * Several files as one ZIP, stored as they are: pictures and scenes are compressed already.
 * Format: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, without ZIP64.
 */

import { crc32 } from "./crc.js";

const MOST_BYTES = 2 ** 32 - 1;
const MOST_FILES = 65_535;
const VERSION = 20;
const NAME_IS_UTF8 = 0x800;
const STORED = 0;
const NO_TIME = 0;
const FIRST_DAY = 0x21; // 1 January 1980; files without a date need one that is valid

/**
 * @param {{name: string, blob: Blob}[]} files with different names.
 * @returns {Promise<Blob>}
 * @throws {Error} they are too large for a ZIP of this kind.
 */
export async function zipped(files) {
  const [parts, directory] = [[], []];
  let [place, directoryBytes] = [0, 0];
  if (files.length > MOST_FILES) throw new Error(`A ZIP holds at most ${MOST_FILES} files.`);
  for (const { name, blob } of files) {
    const bytes = new TextEncoder().encode(name);
    const sum = crc32(new Uint8Array(await blob.arrayBuffer()));
    const common = [
      [2, VERSION], [2, NAME_IS_UTF8], [2, STORED], [2, NO_TIME], [2, FIRST_DAY],
      [4, sum], [4, blob.size], [4, blob.size], [2, bytes.length], [2, 0],
    ];
    const head = packed([4, 0x04034b50], ...common);
    parts.push(head, bytes, blob);
    // Without a comment, on the first disk, without attributes.
    const rest = [[2, 0], [2, 0], [2, 0], [4, 0], [4, place]];
    const entry = packed([4, 0x02014b50], [2, VERSION], ...common, ...rest);
    directory.push(entry, bytes);
    directoryBytes += entry.length + bytes.length;
    place += head.length + bytes.length + blob.size;
    if (place + directoryBytes > MOST_BYTES) throw new Error("The files have more than 4 GB.");
  }
  const end = packed(
    [4, 0x06054b50], [2, 0], [2, 0], [2, files.length], [2, files.length],
    [4, directoryBytes], [4, place], [2, 0],
  );
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}

/** Numbers of 2 or 4 bytes, the least significant byte first. */
function packed(...fields) {
  const view = new DataView(new ArrayBuffer(fields.reduce((sum, [size]) => sum + size, 0)));
  let place = 0;
  for (const [size, value] of fields) {
    if (size === 2) view.setUint16(place, value, true);
    else view.setUint32(place, value, true);
    place += size;
  }
  return new Uint8Array(view.buffer);
}

/** Names that do not occur twice: "a.png", "a (2).png". */
export function distinct(names) {
  const taken = new Set();
  return names.map((name) => {
    const [, stem, suffix] = /^(.*?)(\.[^.]*)?$/s.exec(name);
    let free = name;
    for (let number = 2; taken.has(free); number++) free = `${stem} (${number})${suffix ?? ""}`;
    taken.add(free);
    return free;
  });
}
