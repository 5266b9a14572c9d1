// SPDX-FileCopyrightText: 2026 The Twinlens authors
// SPDX-License-Identifier: MIT
/** Labels for the one photo whose depth is seen. */

import { Activity } from "./activity.js";
import { byId } from "./dom.js";
import { classified, curlOf, howInWords, labelsIn, showLabels } from "./labels.js";
import { firstWords, waitInWords } from "./models.js";
import { service } from "./service.js";

export class PhotoLabels {
  #file = null;
  #running = new AbortController();

  /**
   * @param {import("./models.js").Choice} clip
   * @param {(line: string) => void} onFound told the same as a command line.
   */
  constructor(clip, onFound) {
    Object.assign(this, { clip, onFound });
    this.root = byId("depth-labels");
    this.list = byId("depth-labels-found");
    this.fine = byId("depth-labels-fine");
    this.activity = new Activity(byId("depth-labels-activity"));
    byId("depth-labels-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#find();
    });
  }

  offer(file) {
    if (file !== this.#file) this.forget();
    this.#file = file;
    this.root.hidden = service.models !== null && !service.family("embedding").length;
  }

  forget() {
    this.#running.abort();
    this.#file = null;
    this.root.hidden = true;
    this.activity.rest();
    showLabels(this.list, null);
    this.fine.textContent = "";
  }

  async #find() {
    const file = this.#file;
    this.#running.abort();
    const { signal } = (this.#running = new AbortController());
    const [words, sentence] = ["depth-labels-words", "depth-labels-sentence"].map(byId);
    const fields = labelsIn(words.value, sentence.value);
    if (!fields.length) return;
    this.activity.withdraw();
    try {
      const attempt = (model) => {
        this.activity.say("Looking at the photo", null, firstWords(service.model(model)));
        return classified(file, fields, model, signal);
      };
      const onWait = (model) => this.activity.say(...waitInWords(model));
      const keyNow = () => this.clip.keep();
      const answer = await service.whenAvailable(keyNow, attempt, { signal, onWait });
      showLabels(this.list, answer);
      this.fine.textContent = howInWords(answer);
      this.activity.rest();
      this.onFound(curlOf(file, fields, answer.model));
    } catch (error) {
      if (signal.aborted) return;
      this.activity.fail(error);
      if (!error.isOfTheFile) this.activity.offer("Try again", () => this.#find());
    }
  }
}
