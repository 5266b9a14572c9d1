// SPDX-FileCopyrightText: 2026 The Twinlens authors
// SPDX-License-Identifier: MIT
/** Pictures from files, upright: browsers turn them as the photo's EXIF note says. */

/**
 * A picture of a file's content, decoded. Whoever is done with it calls ``release``.
 * @returns {Promise<HTMLImageElement|null>} null where the browser does not know the format.
 */
export async function decoded(blob) {
  const image = new Image();
  image.src = URL.createObjectURL(blob);
  try {
    await image.decode();
    return image;
  } catch {
    release(image);
    return null;
  }
}

export function release(image) {
  if (image) URL.revokeObjectURL(image.src);
}

/** A canvas with the picture on it, its longest edge at most so many pixels. */
export function shrunk(image, longestEdge) {
  const { naturalWidth: width, naturalHeight: height } = image;
  const scale = Math.min(1, longestEdge / Math.max(width, height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  return canvas;
}
