// SPDX-FileCopyrightText: 2026 The Twinlens authors
// SPDX-License-Identifier: MIT
/** A photo and its depth to look at: compared, coloured, in 3D, to take away. */

import { Compare, fit } from "./compare.js";
import { byId, make } from "./dom.js";
import { decoded, release } from "./images.js";
import { Motion } from "./motion.js";
import { loadPalettes, painted } from "./palette.js";
import { Parallax } from "./parallax.js";

const GREY = "grey";

export class DepthView {
  file = null;
  /** What the user should know about the last photo, in a sentence; or nothing. */
  remark = "";

  #photo = null;
  #map = null; // the PNG that came
  #grey = null; // as a picture
  #coloured = null;
  #colours = GREY;
  #palettes = new Map();

  constructor() {
    this.compare = new Compare(byId("compare"));
    this.frame = byId("scene").parentElement;
    this.tools = byId("depth-tools");
    this.download = byId("download");
    this.#setUpSpace();
    this.#setUpColours();
  }

  /** A new photo, whose depth is on its way. */
  async showPhoto(file) {
    if (file === this.file) return;
    this.file = file;
    this.#map = null;
    const photo = await decoded(file);
    if (this.file !== file) return release(photo); // another one came meanwhile
    release(this.#photo);
    this.#photo = photo;
    this.remark = photo
      ? ""
      : "This browser cannot show photos of this format, so you see the depth alone.";
    this.compare.showPhoto(photo);
    if (photo) fit(this.frame, photo);
    this.frame.classList.add("empty");
    this.tools.hidden = true;
  }

  /** @param {Blob} png the service's answer. */
  async showMap(png) {
    this.#map = png;
    const grey = await decoded(png);
    if (this.#map !== png) return release(grey);
    release(this.#grey);
    this.#grey = grey;
    await this.#colour();
    if (this.#map !== png) return;
    this.tools.hidden = false;
    fit(this.frame, this.#grey);
    this.frame.classList.remove("empty");
    if (!this.parallax) return;
    this.parallax.show(this.#photo ?? this.#coloured, this.#grey);
    this.motion.greet();
  }

  async #colour() {
    const [map, colours] = [this.#map, this.#colours];
    const coloured = await decoded(await painted(map, this.#palettes.get(colours)));
    if (this.#map !== map || this.#colours !== colours) return release(coloured);
    const before = this.#coloured;
    this.#coloured = coloured;
    this.compare.showMap(this.#coloured);
    release(before);
    this.download.href = this.#coloured.src;
    const stem = this.file.name.replace(/\.[^.]*$/, "");
    const suffix = colours === GREY ? "" : `_${colours}`;
    this.download.download = `depth_${stem}${suffix}.png`;
    if (!this.#photo) this.parallax?.show(this.#coloured, this.#grey);
  }

  #setUpSpace() {
    const canvas = byId("scene");
    try {
      this.parallax = new Parallax(canvas);
    } catch {
      this.frame.hidden = true;
      byId("space-hint").textContent = "This browser has no WebGL 2, so there is no 3D view here.";
      byId("strength").disabled = true;
      return;
    }
    this.motion = new Motion(canvas, (x, y) => this.parallax.turn(x, y));
    byId("strength").addEventListener("input", (event) => {
      this.parallax.strength = event.target.value / 100;
      this.parallax.draw();
    });
    const tilt = byId("tilt");
    tilt.hidden = !Motion.canFollowPhone();
    tilt.addEventListener("click", async () => {
      const follows = await this.motion.followPhone();
      tilt.hidden = follows;
      byId("space-hint").textContent = follows
        ? "Turn the phone to look around."
        : "The browser does not tell how the phone is held; move your finger instead.";
    });
  }

  async #setUpColours() {
    this.#palettes = await loadPalettes();
    const names = [GREY, ...this.#palettes.keys()];
    byId("colours").append(...names.map((name) => this.#swatch(name)));
  }

  #swatch(name) {
    const isChosen = name === this.#colours;
    const radio = make("input", { type: "radio", name: "colours", value: name, checked: isChosen });
    radio.addEventListener("change", () => {
      this.#colours = name;
      this.#colour();
    });
    const swatch = make("span", { className: "swatch", title: name });
    swatch.style.backgroundImage = gradient(this.#palettes.get(name));
    const label = make("span", { className: "unseen", textContent: name });
    return make("label", {}, radio, swatch, label);
  }
}

/** Some of a palette's 256 colours, far to near, in CSS. */
function gradient(colours) {
  if (!colours) return "linear-gradient(to right, black, white)";
  const stops = [0, 51, 102, 153, 204, 255].map((i) => `rgb(${colours.slice(3 * i, 3 * i + 3)})`);
  return `linear-gradient(to right, ${stops.join(", ")})`;
}
