// SPDX-FileCopyrightText: 2026 The Twinlens authors
// SPDX-License-Identifier: MIT
/** Around a scene: drag it with mouse or finger, pinch it, turn the wheel, press keys. */

import { Motion } from "./motion.js";

const DRAG = 2.4; // over the whole width or height; the way from one end to the other is 2
const PINCH = 1.5; // for twice the distance between two fingers
const WHEEL = 0.0015; // for a pixel of scrolling
const CLOSER = [0, 0, 1];
const FARTHER = [0, 0, -1];

export class Orbit extends Motion {
  #fingers = new Map(); // the pointers that are down, by their id

  /** @param {(x: number, y: number, closer: number) => void} turn told the place, -1 to 1 each. */
  constructor(element, turn) {
    super(element, turn, { keys: { "+": CLOSER, "=": CLOSER, "-": FARTHER }, axes: 3 });
    element.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      element.setPointerCapture(event.pointerId);
      this.#fingers.set(event.pointerId, placeOf(event));
    });
    element.addEventListener("pointermove", (event) => {
      if (this.#fingers.has(event.pointerId)) this.#drag(event, element);
    });
    element.addEventListener("lostpointercapture", ({ pointerId }) => {
      this.#fingers.delete(pointerId);
    });
    element.addEventListener("wheel", (event) => this.#roll(event, element), { passive: false });
  }

  #drag(event, element) {
    const [x, y] = this.#fingers.get(event.pointerId);
    const before = this.#gap();
    this.#fingers.set(event.pointerId, placeOf(event));
    if (this.#fingers.size === 1) {
      // The scene goes along with the pointer, so the eye goes the other way.
      const across = (x - event.clientX) / element.clientWidth;
      const down = (y - event.clientY) / element.clientHeight;
      this.move(DRAG * across, DRAG * down);
    } else if (before > 0 && this.#gap() > 0) {
      this.move(0, 0, PINCH * Math.log2(this.#gap() / before));
    }
  }

  /** How far the first two fingers are from each other. */
  #gap() {
    const [first, second] = this.#fingers.values();
    return second ? Math.hypot(first[0] - second[0], first[1] - second[1]) : 0;
  }

  /**
   * The wheel scrolls the console, until the scene has the focus. Browsers report a pinch on a
   * touchpad as a wheel with ctrl.
   */
  #roll(event, element) {
    if (!event.ctrlKey && document.activeElement !== element) return;
    event.preventDefault();
    this.move(0, 0, -WHEEL * event.deltaY * (event.ctrlKey ? 5 : 1));
  }
}

const placeOf = ({ clientX, clientY }) => [clientX, clientY];
