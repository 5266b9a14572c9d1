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
    // By itself a slider on an iPhone follows only fingers that begin on its thumb.
    this.line.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      this.line.setPointerCapture(event.pointerId);
      this.#follow(event);
    });
    this.line.addEventListener("pointermove", (event) => {
      if (this.line.hasPointerCapture(event.pointerId)) this.#follow(event);
    });
  }

  /** A new photo, without depth yet; null where the browser cannot show it. */
  showPhoto(image) {
    this.photo.hidden = !image;
    this.#hideMap();
    if (image) {
      this.photo.src = image.src;
      fit(this.frame, image);
    }
  }

  /** Its depth, here or anew in other colours; null where the browser cannot show it. */
  showMap(image) {
    if (!image) return this.#hideMap();
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

  #follow({ clientX }) {
    const { left, width } = this.frame.getBoundingClientRect();
    this.line.value = (100 * (clientX - left)) / width;
    this.#cut();
  }

  #hideMap() {
    this.map.hidden = this.line.disabled = true;
    this.frame.classList.remove("reveal");
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
