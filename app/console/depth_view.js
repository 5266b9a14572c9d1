// SPDX-FileCopyrightText: 2026 The Twinlens authors
// SPDX-License-Identifier: MIT
/** A photo and its depth to look at: compared, coloured, in 3D, to take away. */

import { Compare, fit } from "./compare.js";
import { byId, make, stemOf } from "./dom.js";
import { decoded, release } from "./images.js";
import { Hover, setUpTilt } from "./motion.js";
import { loadPalettes, painted } from "./palette.js";
import { Parallax } from "./parallax.js";
import { photoOf, turnedAs } from "./preview.js";

const GREY = "grey";

export class DepthView {
  file = null;

  #opened = null; // settled when the photo is there to see
  #photo = null;
  #map = null; // the PNG that came
  #grey = null; // as a picture
  #coloured = null;
  #colours = GREY;
  #palettes = new Map();
  #coloursSetUp = null;

  /** @param {(colours: string|null, name: string) => void} onColour told what can be saved. */
  constructor(onColour) {
    this.onColour = onColour;
    this.compare = new Compare(byId("compare"));
    this.space = byId("space");
    this.frame = byId("scene").parentElement;
    this.tools = byId("depth-tools");
    this.download = byId("download");
    this.#setUpSpace();
    this.#setUpColours();
  }

  /** What the user should know about the last photo, in a sentence; or nothing. */
  get remark() {
    if (this.#map && !this.#isSeen) {
      return "This browser cannot show a map of this size; the download has it.";
    }
    if (this.#photo) return "";
    return "Neither this browser nor the service can show the photo, so you see the depth alone.";
  }

  /** A picture of the shape that the photo has; null where this browser draws nothing in 3D. */
  get shape() {
    return this.parallax ? this.#photo ?? this.#grey : null;
  }

  /** A new photo, whose depth is on its way; the one that is shown already stays. */
  showPhoto(file) {
    if (file !== this.file) this.#opened = this.#open(file);
    return this.#opened;
  }

  async #open(file) {
    this.file = file;
    this.#map = null;
    const photo = await photoOf(file);
    if (this.file !== file) return release(photo); // another one came meanwhile
    release(this.#photo);
    this.#photo = photo;
    this.compare.showPhoto(photo);
    if (photo) fit(this.frame, photo);
    this.space.hidden = false;
    this.frame.classList.add("empty");
    this.tools.hidden = true;
  }

  /**
   * @param {Blob} png the service's answer.
   * @returns {Promise<boolean>} false where another photo or map came meanwhile.
   */
  async showMap(png) {
    this.#map = png;
    this.#setUpColours();
    const grey = await decoded(png);
    if (this.#map !== png) {
      release(grey);
      return false;
    }
    release(this.#grey);
    this.#grey = grey;
    await this.#turnPhoto(grey);
    await this.#colour();
    if (this.#map !== png) return false;
    this.tools.hidden = false;
    this.space.hidden = !this.#isSeen;
    if (!this.#isSeen) return true;
    fit(this.frame, this.#grey);
    this.frame.classList.remove("empty");
    this.#showSpace();
    this.motion?.greet();
    return true;
  }

  /** The photo as the service has turned it, where the browser shows it otherwise. */
  async #turnPhoto(map) {
    const { file } = this;
    const upright = await turnedAs(this.#photo, map, file);
    if (upright === this.#photo) return;
    if (this.file !== file) return release(upright);
    this.#photo = upright;
    this.compare.showPhoto(upright);
  }

  get #isSeen() {
    return Boolean(this.#grey && this.#coloured);
  }

  #showSpace() {
    if (this.#isSeen) this.parallax?.show(this.#photo ?? this.#coloured, this.#grey);
  }

  async #colour() {
    const [map, colours] = [this.#map, this.#colours];
    const png = await painted(map, this.#palettes.get(colours));
    const coloured = await decoded(png);
    if (this.#map !== map || this.#colours !== colours) return release(coloured);
    const before = this.#coloured;
    this.#coloured = coloured;
    this.compare.showMap(this.#coloured);
    release(before);
    // Of its own: a map may be too large to be seen here, and is there to take away all the same.
    URL.revokeObjectURL(this.download.href);
    this.download.href = URL.createObjectURL(png);
    const suffix = colours === GREY ? "" : `_${colours}`;
    this.download.download = `depth_${stemOf(this.file)}${suffix}.png`;
    this.onColour(colours === GREY ? null : colours, this.download.download);
    if (!this.#photo) this.#showSpace();
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
    this.motion = new Hover(canvas, (x, y) => this.parallax.turn(x, y));
    byId("strength").addEventListener("input", (event) => {
      this.parallax.strength = event.target.value / 100;
      this.parallax.draw();
    });
    const hint = byId("space-hint");
    const words = {
      follows: "Turn the phone to look around.",
      left: hint.textContent,
      denied: "The browser does not tell how the phone is held; move your finger instead.",
    };
    setUpTilt(byId("tilt"), this.motion, (state) => (hint.textContent = words[state]));
  }

  /** Once; what failed is tried again with the next map. */
  #setUpColours() {
    const show = (palettes) => {
      this.#palettes = palettes;
      const names = [GREY, ...palettes.keys()];
      byId("colours").append(...names.map((name) => this.#swatch(name)));
      byId("colours").hidden = false;
    };
    this.#coloursSetUp ??= loadPalettes().then(show, () => (this.#coloursSetUp = null));
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
