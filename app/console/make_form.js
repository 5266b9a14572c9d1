// SPDX-FileCopyrightText: 2026 The Twinlens authors
// SPDX-License-Identifier: MIT
/** The form with every option of a depth map or stereo pair; what has no meaning now is hidden. */

import { Activity } from "./activity.js";
import { call, imageForm } from "./api.js";
import { byId, save, stemOf } from "./dom.js";
import { service } from "./service.js";

const EXACT = ["png16", "npy", "tiff"]; // more than 256 levels, and no colours
const FLOAT = ["npy", "tiff"];
const SUFFIX = { png16: "png", jpeg: "jpg" };

export class MakeForm {
  #file = null;
  #model = "";
  #running = new AbortController();
  #address = "";

  /** @param {(path: string, name: string, map: File|null) => void} onMade told what
   *   was asked for. */
  constructor(onMade) {
    this.onMade = onMade;
    this.root = byId("make");
    this.form = byId("make-form");
    this.made = byId("made");
    this.activity = new Activity(byId("make-activity"));
    this.form.addEventListener("input", () => this.#arrange());
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#make();
    });
    service.addEventListener("change", () => this.#arrange());
    this.#arrange();
  }

  /** A photo's depth is seen, so everything else can be made of it. */
  offer(file, model) {
    if (file !== this.#file) this.forget();
    this.#file = file;
    this.#model = model;
    this.root.hidden = false;
    this.#arrange();
  }

  forget() {
    this.#running.abort();
    this.#file = null;
    this.form.elements.depth.value = ""; // a map of another photo
    this.root.hidden = true;
    this.activity.rest();
    this.#show(null);
  }

  /** A stereo pair, as the button of a card asks for; it is shown, and not saved. */
  makePair() {
    this.root.open = true;
    if (this.#value("stereo") === "none") this.form.elements.stereo.value = "anaglyph";
    this.#arrange();
    this.root.scrollIntoView({ block: "nearest" });
    if (this.form.reportValidity()) this.#make({ isSaved: false });
  }

  /** The options that differ from their defaults. */
  query() {
    const query = new URLSearchParams({ model: this.#model });
    for (const field of this.form.elements) {
      if (!field.name || field.type === "file" || field.closest("[hidden]:not(details)")) continue;
      const isBox = field.type === "checkbox";
      if (isBox && field.checked) query.set(field.name, "true");
      const isDefault = field.value === field.dataset.usual;
      if (!isBox && field.name !== "numbers" && !isDefault) query.set(field.name, field.value);
    }
    const values = this.#isShown("numbers") ? this.#value("numbers") : "";
    if (values === "metres") query.set("unit", "metres");
    if (values === "none") query.set("normalize", "none");
    if (this.#map()) query.delete("model"); // no model is used then
    return query;
  }

  /** A depth map of the user's own, of which a pair is made. */
  #map() {
    return this.#isShown("depth") ? (this.form.elements.depth.files[0] ?? null) : null;
  }

  #value(name) {
    return this.form.elements[name].value;
  }

  #isShown(name) {
    return !this.form.elements[name].closest(".tool").hidden;
  }

  /** Show the options that mean something together; the service would refuse the others. */
  #arrange() {
    const isPair = this.#value("stereo") !== "none";
    const format = this.form.elements.format;
    for (const option of format.options) option.disabled = isPair && EXACT.includes(option.value);
    if (format.selectedOptions[0]?.disabled) format.value = "png";
    const [isExact, isFloat] = [EXACT.includes(format.value), FLOAT.includes(format.value)];
    const isMetric = service.model(this.#model)?.metric === true;
    for (const option of this.form.elements.numbers.options) {
      option.disabled = option.value === "metres" && !isMetric;
    }
    const values = this.form.elements.numbers;
    if (values.selectedOptions[0]?.disabled) values.value = "";
    const shown = {
      colormap: !isPair && !isExact,
      numbers: isFloat && !isPair,
      focal_length: isFloat && !isPair && values.value === "metres",
      depth: isPair,
      invert: !isPair && !(isFloat && values.value),
      divergence: isPair,
      convergence: isPair,
      swap: isPair && !["left", "right"].includes(this.#value("stereo")),
    };
    for (const [name, isShown] of Object.entries(shown)) {
      this.form.elements[name].closest(".tool").hidden = !isShown;
      // What is hidden must not keep the form from being sent.
      this.form.elements[name].disabled = !isShown;
    }
  }

  async #make({ isSaved = true } = {}) {
    const file = this.#file;
    this.#running.abort();
    const { signal } = (this.#running = new AbortController());
    const path = `api/depth?${this.query()}`;
    try {
      const { activity } = this;
      activity.withdraw();
      activity.say("Sending the photo", 0);
      const onUpload = (part) => {
        if (part < 1) activity.say("Sending the photo", part, `${Math.round(100 * part)} %`);
        else activity.say("The service is at work", null);
      };
      const body = await imageForm(file);
      const map = this.#map();
      if (map) body.append("depth", map, map.name);
      const answer = await call("POST", path, { body, onUpload, signal });
      const name = nameIn(answer) ?? `depth_${stemOf(file)}.${this.#suffix()}`;
      this.#show(answer.response);
      if (isSaved) save(answer.response, name);
      activity.rest(isSaved ? `${name} is saved.` : "");
      this.onMade(path, name, map);
      if (!isSaved) activity.offer("Save it", () => save(answer.response, name));
    } catch (error) {
      if (!signal.aborted) this.activity.fail(error);
    }
  }

  #suffix() {
    const format = this.#value("format");
    return SUFFIX[format] ?? format;
  }

  /** What was made, where a browser can show it. */
  #show(blob) {
    if (this.#address) URL.revokeObjectURL(this.#address);
    const isShown = ["image/png", "image/jpeg", "image/webp"].includes(blob?.type);
    this.#address = isShown ? URL.createObjectURL(blob) : "";
    this.made.hidden = !isShown;
    if (isShown) this.made.src = this.#address;
    else this.made.removeAttribute("src");
  }
}

/** The name that the service gives a file; headsets know the layout of a pair by it. */
function nameIn(answer) {
  const header = answer.getResponseHeader("Content-Disposition") ?? "";
  const wide = /filename\*=UTF-8''([^;]+)/i.exec(header);
  try {
    if (wide) return decodeURIComponent(wide[1]);
  } catch {
    // The plain name is there, too.
  }
  return /filename="([^"]+)"/.exec(header)?.[1];
}
