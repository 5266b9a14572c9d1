// SPDX-FileCopyrightText: 2026 The Twinlens authors
// SPDX-License-Identifier: MIT
/** The scene in a headset (WebXR): it stands before the eyes of who wears it. */

import { Euler, Quaternion } from "three";

// How many metres the scene's middle may be away. Metric models give metres, which stay; of the
// other scenes nobody knows the size, and one that is too small or too large strains the eyes.
const NEAREST_METRES = 1;
const FARTHEST_METRES = 40;

export class Headset {
  #session = null;
  #mustPlace = false; // the scene stands where the eyes are in the next frame

  /**
   * @param {import("./scene_view.js").SceneView} view
   * @param {HTMLButtonElement} button
   * @param {(problem: string) => void} tell told why VR could not begin; "" when it has begun.
   */
  constructor(view, button, tell) {
    this.tell = tell;
    this.view = view;
    this.button = button;
    this.label = button.textContent;
    button.addEventListener("click", () => (this.#session ? this.#session.end() : this.#enter()));
    navigator.xr?.addEventListener?.("devicechange", () => this.#look());
    this.#look();
  }

  /** Whether there is a headset; the button is there only then. */
  async #look() {
    const isThere = await navigator.xr?.isSessionSupported("immersive-vr").catch(() => false);
    this.button.hidden = !isThere;
  }

  async #enter() {
    const { renderer } = this.view;
    this.button.disabled = true;
    try {
      const session = await navigator.xr.requestSession("immersive-vr");
      session.addEventListener("end", () => this.#leave());
      this.#session = session;
      this.#mustPlace = true;
      renderer.xr.setReferenceSpaceType("local");
      renderer.setAnimationLoop((now, frame) => this.#draw(frame));
      await renderer.xr.setSession(session);
      // The user has held the headset's button to be in the middle again.
      const space = renderer.xr.getReferenceSpace();
      space.addEventListener("reset", () => (this.#mustPlace = true));
      this.button.textContent = "Leave VR";
      this.tell("");
    } catch (error) {
      await this.#session?.end().catch(() => {});
      this.tell(`The headset did not begin: ${error.message}`);
    } finally {
      this.button.disabled = false;
    }
  }

  #draw(frame) {
    if (!frame) return;
    if (this.#mustPlace) this.#place(frame);
    this.view.drawNow();
  }

  /** The eyes are where the photo's camera was, and look the way that it looked, but level. */
  #place(frame) {
    const pose = frame.getViewerPose(this.view.renderer.xr.getReferenceSpace());
    if (!pose) return; // not tracked yet
    const { position, orientation } = pose.transform;
    const { stage, middle } = this.view;
    const { x, y, z, w } = orientation;
    const turned = new Euler().setFromQuaternion(new Quaternion(x, y, z, w), "YXZ");
    stage.position.set(position.x, position.y, position.z);
    stage.rotation.set(0, turned.y, 0);
    stage.scale.setScalar(clamp(middle, NEAREST_METRES, FARTHEST_METRES) / middle);
    this.#mustPlace = false;
  }

  #leave() {
    const { renderer, stage } = this.view;
    this.#session = null;
    renderer.setAnimationLoop(null);
    stage.position.set(0, 0, 0);
    stage.rotation.set(0, 0, 0);
    stage.scale.setScalar(1);
    this.button.textContent = this.label;
    // The renderer goes back to the canvas after this event, and has changed the camera.
    setTimeout(() => this.view.resize());
  }
}

const clamp = (value, low, high) => Math.max(low, Math.min(high, value));
