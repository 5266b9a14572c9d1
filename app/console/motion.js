// SPDX-FileCopyrightText: 2026 The Twinlens authors
// SPDX-License-Identifier: MIT
/** Where the eye is: mouse, finger, arrow keys and the phone's own turning move it. */

import { wantsLessMotion } from "./dom.js";

const EASE_MS = 100; // in which a third of the way is left, however many frames that are
const ARRIVED = 0.002;
const KEY_STEP = 0.25;
const TILT_DEGREES = 18; // of the phone, from the middle to the end
const GREETING_MS = 3200;

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const within = (value) => Math.max(-1, Math.min(1, value));

export class Motion {
  #goal = [0, 0];
  #place = [0, 0];
  #frame = null;
  #lastStep = 0;
  #greetedAt = null;
  #level = null; // how the phone was held when it began to follow it

  /** @param {(x: number, y: number) => void} turn told the place, -1 to 1 each. */
  constructor(element, turn) {
    this.turn = turn;
    element.addEventListener("pointermove", (event) => {
      const box = element.getBoundingClientRect();
      const [x, y] = [event.clientX - box.left, event.clientY - box.top];
      this.#go([(2 * x) / box.width - 1, (2 * y) / box.height - 1]);
    });
    // A finger that is lifted leaves, too.
    element.addEventListener("pointerleave", () => {
      if (!this.#level) this.#go([0, 0]);
    });
    element.addEventListener("keydown", (event) => {
      const arrow = ARROWS[event.key];
      if (!arrow && event.key !== "Home") return;
      event.preventDefault();
      this.#go(arrow ? this.#goal.map((value, i) => value + KEY_STEP * arrow[i]) : [0, 0]);
    });
  }

  /** Once around, so that everybody sees that there is depth; not for who wants less motion. */
  greet() {
    if (wantsLessMotion()) return this.turn(...this.#place);
    this.#greetedAt = performance.now();
    this.#start();
  }

  /** Phones and tablets, where the page came over HTTPS: browsers tell it to no other. */
  static canFollowPhone() {
    const isHandheld = matchMedia("(pointer: coarse)").matches;
    return isHandheld && isSecureContext && "DeviceOrientationEvent" in window;
  }

  /** @returns {Promise<boolean>} false where the user does not allow it. */
  async followPhone() {
    const answer = await DeviceOrientationEvent.requestPermission?.(); // iOS asks
    if (answer && answer !== "granted") return false;
    addEventListener("deviceorientation", ({ beta, gamma }) => {
      if (beta === null || gamma === null) return;
      this.#level ??= [gamma, beta];
      const tilted = [gamma - this.#level[0], beta - this.#level[1]];
      this.#go(tilted.map((degrees) => degrees / TILT_DEGREES));
    });
    return true;
  }

  #go(goal) {
    this.#goal = goal.map(within);
    this.#greetedAt = null;
    this.#start();
  }

  #start() {
    if (this.#frame !== null) return;
    this.#frame = requestAnimationFrame((now) => this.#step(now));
  }

  #step(now) {
    this.#frame = null;
    const goal = this.#greeting(now) ?? this.#goal;
    const rest = goal.map((value, i) => value - this.#place[i]);
    const isThere = Math.hypot(...rest) < ARRIVED;
    const share = isThere || wantsLessMotion() ? 1 : 1 - Math.exp((this.#lastStep - now) / EASE_MS);
    this.#lastStep = now;
    this.#place = this.#place.map((value, i) => value + share * rest[i]);
    this.turn(...this.#place);
    if (!isThere || this.#greetedAt !== null) this.#start();
  }

  /** Where the greeting is; null when it is over. */
  #greeting(now) {
    const part = this.#greetedAt === null ? 1 : (now - this.#greetedAt) / GREETING_MS;
    if (part >= 1) {
      this.#greetedAt = null;
      return null;
    }
    const angle = 2 * Math.PI * part;
    return [0.8 * Math.sin(angle), 0.4 * Math.sin(2 * angle)];
  }
}
