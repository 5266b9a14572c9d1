// SPDX-FileCopyrightText: 2026 The Twinlens authors
// SPDX-License-Identifier: MIT
/** Similarities as a table, with a small picture of each image. */

import { make } from "./dom.js";

/** Of each pair of vectors of length 1: rows and columns in their order. */
export function cosines(vectors) {
  const dot = (one, other) => one.reduce((sum, value, i) => sum + value * other[i], 0);
  return vectors.map((one) => vectors.map((other) => dot(one, other)));
}

/** The two different images that are most alike. */
export function closestInWords(images, table) {
  const pairs = table.flatMap((row, i) => row.slice(0, i).map((value, j) => ({ value, i, j })));
  const { value, i, j } = pairs.reduce((best, pair) => (pair.value > best.value ? pair : best));
  return images.length > 2
    ? `Most alike: ${images[j].name} and ${images[i].name}, ${value.toFixed(2)}.`
    : `${images[j].name} and ${images[i].name}: ${value.toFixed(2)}.`;
}

export class Matrix {
  #addresses = [];

  constructor(root) {
    this.root = root;
  }

  clear() {
    this.root.hidden = true;
    this.root.replaceChildren();
    this.#addresses.forEach((address) => URL.revokeObjectURL(address));
  }

  show(images, table) {
    this.#addresses = images.map((image) => URL.createObjectURL(image));
    const lowest = Math.min(...table.flat());
    const top = make("tr", {}, make("td"), ...images.map((_, i) => this.#head(images, i, "col")));
    const rows = table.map((row, i) =>
      make("tr", {}, this.#head(images, i, "row"), ...row.map((value) => cell(value, lowest))),
    );
    const caption = make("caption", { className: "unseen" }, "How alike the images are");
    const [head, body] = [make("thead", {}, top), make("tbody", {}, ...rows)];
    this.root.append(make("table", {}, caption, head, body));
    this.root.hidden = false;
  }

  #head(images, index, scope) {
    const { name } = images[index];
    const picture = make("img", { src: this.#addresses[index], alt: "", title: name });
    // Of a format that this browser does not know: the name alone.
    picture.addEventListener("error", () => picture.remove());
    const label = make("span", { className: "name", textContent: name });
    return make("th", { scope }, make("div", {}, picture, label));
  }
}

/** Shaded from the lowest of the table to 1. */
function cell(value, lowest) {
  const shown = make("td", { textContent: value.toFixed(2) });
  const share = lowest < 1 ? (value - lowest) / (1 - lowest) : 1;
  shown.style.setProperty("--share", Math.max(0, Math.min(1, share)).toFixed(3));
  return shown;
}
