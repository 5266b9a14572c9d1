// SPDX-FileCopyrightText: 2026 The Twinlens authors
// SPDX-License-Identifier: MIT
/** What to make of a film: its kind, and every option that means something for that kind. */

import { byId } from "./dom.js";

export class FilmOptions {
  constructor() {
    this.kind = byId("film-kind");
    this.form = byId("film-options");
    for (const place of [this.kind, this.form]) {
      place.addEventListener("input", () => this.#arrange());
    }
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.#arrange();
  }

  /** Whether all that is written there can be sent; where it cannot, the browser says why. */
  isValid() {
    return this.form.reportValidity();
  }

  /** "depth?output_format=mp4&codec=hevc" */
  path() {
    const [route, query] = this.kind.value.split("?");
    const wanted = new URLSearchParams(query);
    // FFV1, if it is chosen, holds no colours, also where the kind of film names some.
    if (this.form.elements.colormap.disabled) wanted.delete("colormap");
    for (const field of this.form.elements) {
      if (!field.name || field.closest("[hidden]")) continue;
      const value = field.type === "checkbox" ? String(field.checked) : field.value;
      if (value !== (field.dataset.usual ?? "false")) wanted.set(field.name, value);
    }
    // The service makes an MKV file with FFV1 unless a codec is named.
    const isColoured = wanted.has("colormap") && wanted.get("output_format") === "mkv";
    if (isColoured && !wanted.has("codec")) wanted.set("codec", "h264");
    return `${route}?${wanted}`;
  }

  /** Show the options that mean something together; the service would refuse the others. */
  #arrange() {
    const [route, query] = this.kind.value.split("?");
    const wanted = new URLSearchParams(query);
    const isDepth = route === "depth";
    const isZip = wanted.get("output_format") === "zip";
    const { output_format: container, codec, method } = this.form.elements;
    const isView = ["left", "right"].includes(wanted.get("stereo"));
    const isExact = isDepth && !isZip && container.value === "mkv";
    codec.querySelector("[value=ffv1]").disabled = !isExact;
    if (codec.selectedOptions[0]?.disabled) codec.value = "";
    const isGrey = codec.value === "ffv1" || (codec.value === "" && !wanted.has("colormap"));
    const hasColours = !isExact || !isGrey;
    const shown = {
      output_format: !isZip,
      codec: !isZip,
      colormap: isDepth && hasColours,
      invert: isDepth,
      method: isDepth,
      fps: isDepth && method.value !== "keyframes",
      max_frames: isDepth,
      divergence: !isDepth,
      convergence: !isDepth,
      swap: !isDepth && !isView,
    };
    for (const [name, isShown] of Object.entries(shown)) {
      const tool = this.form.elements[name].closest(".tool");
      tool.hidden = !isShown;
      // What is hidden must not keep the form from being sent.
      this.form.elements[name].disabled = !isShown;
    }
  }
}
