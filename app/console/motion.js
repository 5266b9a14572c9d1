// SPDX-FileCopyrightText: 2026 The Twinlens authors
// SPDX-License-Identifier: MIT
/** Where the eye is. Arrow keys and the phone's own turning move it; subclasses add the pointer. */

import { wantsLessMotion } from "./dom.js";

const EASE_MS = 100; // in which a third of the way is left, however many frames that are
const LONGEST_STEP_MS = 50; // after a late frame it goes on from where it was seen, it never jumps
const ARRIVED = 0.002;
const KEY_STEP = 0.25;
const TILT_DEGREES = 18; // of the phone, from the middle to the end
const LEVEL_MS = 10_000; // in which the way that a phone is held becomes the new middle, mostly
const GREETING_MS = 3200;

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const within = (value) => Math.max(-1, Math.min(1, value));

/** How far the phone leans to the right and towards who holds it, however the page is turned. */
function asSeen(gamma, beta) {
  switch (screen.orientation?.angle) {
    case 90:
      return [beta, -gamma];
    case 180:
      return [-gamma, -beta];
    case 270:
      return [-beta, gamma];
    default:
      return [gamma, beta];
  }
}

export class Motion {
  #goal;
  #place;
  #frame = null;
  #lastStep = 0;
  #greetedAt = null;
  #level = null; // how the phone is held on the whole, while it is followed
  #levelledAt = 0;

  /**
   * @param {HTMLElement} element hears the keys.
   * @param {(...place: number[]) => void} turn told the place, -1 to 1 each: x, y and any others.
   * @param {Object<string, number[]>} [keys] what they add to the place, beside the arrow keys.
   * @param {number} [axes]
   */
  constructor(element, turn, { keys = {}, axes = 2 } = {}) {
    this.turn = turn;
    this.#goal = Array(axes).fill(0);
    this.#place = [...this.#goal];
    const directions = { ...ARROWS, ...keys };
    element.addEventListener("keydown", (event) => {
      const direction = directions[event.key];
      const isTaken = direction || event.key === "Home";
      if (!isTaken || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      if (direction) this.move(...direction.map((value) => KEY_STEP * value));
      else this.reset();
    });
  }

  get followsPhone() {
    return this.#level !== null;
  }

  /** Go to a place; axes that are not given stay where they are. */
  go(...goal) {
    this.#goal = this.#goal.map((value, i) => within(goal[i] ?? value));
    this.#greetedAt = null;
    this.#wake();
  }

  /** Go on by these steps, from where it is or is going to be. */
  move(...steps) {
    this.go(...this.#goal.map((value, i) => value + (steps[i] ?? 0)));
  }

  /** Go back to the middle of all axes. */
  reset() {
    this.go(...this.#goal.map(() => 0));
  }

  /** Once around, so that everybody sees that there is depth; not for who wants less motion. */
  greet() {
    if (wantsLessMotion()) return this.turn(...this.#place);
    this.#greetedAt = performance.now();
    this.#wake();
  }

  /** Phones and tablets, where the page came over HTTPS: browsers tell it to no other. */
  static canFollowPhone() {
    const isHandheld = matchMedia("(pointer: coarse)").matches;
    return isHandheld && isSecureContext && "DeviceOrientationEvent" in window;
  }

  /** @returns {Promise<boolean>} false where the user does not allow it. */
  async followPhone() {
    const asked = DeviceOrientationEvent.requestPermission?.(); // iOS asks
    const answer = await asked?.catch(() => "denied");
    if (answer && answer !== "granted") return false;
    addEventListener("deviceorientation", this.#follow);
    return true;
  }

  leavePhone() {
    removeEventListener("deviceorientation", this.#follow);
    this.#level = null;
    this.go(0, 0);
  }

  #follow = ({ beta, gamma, timeStamp }) => {
    if (beta === null || gamma === null) return;
    const held = asSeen(gamma, beta);
    // The way a phone is held changes with time, so the middle follows it slowly.
    const share = 1 - Math.exp((this.#levelledAt - timeStamp) / LEVEL_MS);
    this.#level = this.#level?.map((value, i) => value + share * (held[i] - value)) ?? held;
    this.#levelledAt = timeStamp;
    this.go(...held.map((degrees, i) => (degrees - this.#level[i]) / TILT_DEGREES));
  };

  /** Begin to move; the way there begins now, and not when the last one ended. */
  #wake() {
    if (this.#frame !== null) return;
    this.#lastStep = performance.now();
    this.#start();
  }

  #start() {
    this.#frame = requestAnimationFrame((now) => this.#step(now));
  }

  #step(now) {
    this.#frame = null;
    const goal = this.#greeting(now) ?? this.#goal;
    const rest = goal.map((value, i) => value - this.#place[i]);
    const isThere = Math.hypot(...rest) < ARRIVED;
    // A frame's own time may lie a little before what woke it.
    const passed = Math.min(Math.max(0, now - this.#lastStep), LONGEST_STEP_MS);
    const share = isThere || wantsLessMotion() ? 1 : 1 - Math.exp(-passed / EASE_MS);
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
    return [0.8 * Math.sin(angle), 0.4 * Math.sin(2 * angle), ...this.#goal.slice(2)];
  }
}

/** The eye is where the mouse is over the element, or a finger, and returns when it leaves. */
export class Hover extends Motion {
  constructor(element, turn) {
    super(element, turn);
    element.addEventListener("pointermove", (event) => {
      const box = element.getBoundingClientRect();
      const [x, y] = [event.clientX - box.left, event.clientY - box.top];
      this.go((2 * x) / box.width - 1, (2 * y) / box.height - 1);
    });
    // A finger that is lifted leaves, too.
    element.addEventListener("pointerleave", () => {
      if (!this.followsPhone) this.go(0, 0);
    });
  }
}

/**
 * Lets a button switch whether the phone's own turning is followed; hidden where that cannot be.
 * @param {HTMLButtonElement} button
 * @param {Motion} motion
 * @param {(state: "follows"|"left"|"denied") => void} [tell]
 */
export function setUpTilt(button, motion, tell = () => {}) {
  button.hidden = !Motion.canFollowPhone();
  button.addEventListener("click", async () => {
    const isWanted = button.ariaPressed !== "true";
    const follows = isWanted && (await motion.followPhone());
    if (!isWanted) motion.leavePhone();
    button.ariaPressed = String(follows);
    if (follows) tell("follows");
    else tell(isWanted ? "denied" : "left");
  });
}
