// SPDX-FileCopyrightText: 2026 The Twinlens authors
// SPDX-License-Identifier: MIT
/** What happens at this moment, or went wrong: words, a bar, things to press. */

import { make } from "./dom.js";

export class Activity {
  #words = make("p", { role: "status", className: "words" });
  #bar = make("progress", { max: 1, hidden: true });
  #detail = make("span", { className: "detail" });
  #buttons = make("div", { className: "buttons" });
  #fine = make("p", { className: "fine" });

  constructor(root) {
    this.root = root;
    root.append(
      this.#words,
      make("div", { className: "bar" }, this.#bar, this.#detail),
      this.#buttons,
      this.#fine,
    );
  }

  /**
   * Say what happens.
   * @param {string} text read out by screen readers, so it changes rarely.
   * @param {number|null} [progress] 0 to 1; null while nobody knows; without it there is no bar.
   * @param {string} [detail] beside the bar, changes as often as it likes.
   */
  say(text, progress, detail = "") {
    this.root.classList.remove("failed");
    if (this.#words.textContent !== text) this.#words.textContent = text;
    this.#bar.hidden = progress === undefined;
    this.#bar.setAttribute("aria-label", text);
    if (typeof progress === "number") this.#bar.value = progress;
    else this.#bar.removeAttribute("value");
    this.#detail.textContent = detail;
    this.#fine.textContent = "";
  }

  /** Something to press; offered again, the button stays and keeps the focus. */
  offer(label, action) {
    let button = [...this.#buttons.children].find(({ textContent }) => textContent === label);
    if (!button) {
      button = make("button", { type: "button", textContent: label });
      this.#buttons.append(button);
    }
    button.onclick = () => {
      this.withdraw();
      action();
    };
  }

  withdraw() {
    this.#buttons.replaceChildren();
  }

  /** Whether what is shown is an error. */
  get hasFailed() {
    return this.root.classList.contains("failed");
  }

  /** Nothing happens. */
  rest(text = "") {
    this.say(text);
    this.withdraw();
  }

  /** An error of the service, in its words. */
  fail(error) {
    this.rest();
    this.root.classList.add("failed");
    this.#words.replaceChildren(
      make("strong", { textContent: error.title ?? "Something went wrong here" }),
      ` ${error.message}`,
    );
    if (error.requestId) this.#fine.textContent = `Request ${error.requestId}`;
  }
}
