// SPDX-FileCopyrightText: 2026 The Twinlens authors
// SPDX-License-Identifier: MIT
/** The form that adds a model of the hub. */

import { Activity } from "./activity.js";
import { byId } from "./dom.js";
import { service } from "./service.js";

export class AddModel {
  #isRunning = false;

  constructor() {
    this.form = byId("add-model");
    this.source = byId("add-source");
    this.key = byId("add-key");
    this.button = this.form.querySelector("button");
    this.activity = new Activity(byId("add-activity"));
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#add();
    });
    service.addEventListener("change", () => {
      this.form.hidden = !service.models || !service.canDownload;
    });
  }

  async #add() {
    if (this.#isRunning) return;
    this.#show(true);
    const wanted = { key: this.key.value.trim(), source: this.source.value.trim() };
    this.activity.say(`Asking the hub about ${wanted.source}.`, null);
    let said = "";
    try {
      const model = await service.add(wanted, (message) => {
        said = message;
        this.activity.say(message, null);
      });
      if (model) {
        this.form.reset();
        this.activity.rest(`${model.name} is in the list. ${licence(model)}`);
      } else {
        this.activity.rest(`${said}. It is not in the list yet: see the log of the service.`);
      }
    } catch (error) {
      this.activity.fail(error);
    } finally {
      this.#show(false);
    }
  }

  #show(isRunning) {
    this.#isRunning = isRunning;
    // Not "disabled": that would take the focus away from who just pressed it.
    this.button.setAttribute("aria-disabled", String(isRunning));
  }
}

const licence = ({ license }) =>
  license === "unknown"
    ? "Its page on the hub says under which licence it may be used."
    : `Its licence: ${license}.`;
