// SPDX-FileCopyrightText: 2026 The Twinlens authors
// SPDX-License-Identifier: MIT
/** Photo and depth in one frame; a line between them that mouse, finger and keys move. */

export class Compare {
  constructor(frame) {
    this.frame = frame;
    this.photo = frame.querySelector(".photo");
    this.map = frame.querySelector(".map");
    this.line = frame.querySelector("input");
    this.line.addEventListener("input", () => this.#cut());
  }

  /** A new photo, without depth yet; null where the browser cannot show it. */
  showPhoto(image) {
    this.photo.hidden = !image;
    this.map.hidden = this.line.disabled = true;
    this.frame.classList.remove("reveal");
    if (image) {
      this.photo.src = image.src;
      fit(this.frame, image);
    }
  }

  /** Its depth, here or anew in other colours. */
  showMap(image) {
    const isNew = this.map.hidden;
    this.map.src = image.src;
    this.map.hidden = false;
    this.line.disabled = this.photo.hidden;
    if (!isNew) return;
    fit(this.frame, image);
    this.line.value = this.photo.hidden ? 0 : 50;
    this.#cut();
    this.frame.classList.add("reveal");
  }

  #cut() {
    this.frame.style.setProperty("--cut", `${this.line.value}%`);
    this.line.setAttribute("aria-valuetext", `${this.line.value} % photo`);
  }
}

/** Give a frame the shape of a picture. */
export function fit(frame, image) {
  frame.style.setProperty("--ratio", image.naturalWidth / image.naturalHeight);
}
