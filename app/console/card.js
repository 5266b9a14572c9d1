// SPDX-FileCopyrightText: 2026 The Twinlens authors
// SPDX-License-Identifier: MIT
/** A photo of the gallery: small pictures of it and of its depth, a score, things to do with it. */

import { make } from "./dom.js";
import { decoded, release, shrunk } from "./images.js";

const EDGE = 480; // pixels; a card shows no more

export class Card {
  vector = null; // for the search, of the model that is chosen there

  /**
   * @param {File} file
   * @param {Object<string, [string, () => void]>} actions by what is written on the button: what
   *   it does in words, and the function.
   */
  constructor(file, actions) {
    this.file = file;
    this.pictures = make("div", { className: "pair" });
    this.score = make("span", { className: "state", hidden: true });
    const name = make("h3", { textContent: file.name, title: file.name });
    const buttons = make("div", { className: "buttons" });
    for (const [text, [description, action]] of Object.entries(actions)) {
      const button = make("button", { type: "button", textContent: text, onclick: action });
      button.setAttribute("aria-label", `${text}: ${description} ${file.name}`);
      buttons.append(button);
    }
    this.labels = make("ul", { className: "labels", hidden: true });
    this.labels.setAttribute("aria-label", `labels of ${file.name}`);
    const head = make("div", {}, name, this.score);
    this.element = make("li", {}, this.pictures, head, this.labels, buttons);
  }

  /** @param {HTMLImageElement|null} photo @param {Blob|null} map */
  async show(photo, map) {
    const depth = map && (await decoded(map));
    const pictures = [
      [photo, this.file.name],
      [depth, `depth of ${this.file.name}`],
    ];
    for (const [picture, words] of pictures) {
      if (!picture) continue;
      const canvas = shrunk(picture, EDGE);
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", words);
      this.pictures.append(canvas);
      release(picture);
    }
  }

  /** @param {number|null} value a cosine; null takes it away. */
  rate(value) {
    this.score.hidden = value === null;
    this.score.textContent = value === null ? "" : value.toFixed(2);
  }
}
