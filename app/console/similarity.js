// SPDX-FileCopyrightText: 2026 The Twinlens authors
// SPDX-License-Identifier: MIT
/** How alike several images are by what they show: cosines of their CLIP vectors. */

import { Activity } from "./activity.js";
import { callForJson, imageForm, ServiceError } from "./api.js";
import { byId, goTo, refusals } from "./dom.js";
import { closestInWords, cosines, Matrix } from "./matrix.js";
import { Choice, waitInWords } from "./models.js";
import { service } from "./service.js";

const MOST_IMAGES = 16; // a larger table is hard to read
const AT_ONCE = 4; // the service computes together what waits
const OF_THE_IMAGE = [0, 400, 413]; // statuses: the others may be fine

export class SimilaritySection {
  #files = [];
  #running = new AbortController();

  /**
   * @param {(file: File, refused: object[]) => void} onSingle given the only one of several files
   *   that is an image: there is nothing to compare it with.
   */
  constructor(onSingle) {
    this.onSingle = onSingle;
    this.section = byId("similarity");
    this.activity = new Activity(byId("similarity-activity"));
    this.refused = byId("refused");
    this.closest = byId("closest");
    this.matrix = new Matrix(byId("matrix"));
    this.fine = byId("similarity-fine");
    const preferred = () => service.health?.default_model;
    this.choice = new Choice(byId("clip-model"), byId("clip-model-note"), "embedding", preferred);
    this.choice.select.addEventListener("change", () => this.show(this.#files));
  }

  /** Compare images; those that are still being compared are forgotten. */
  async show(files) {
    this.#running.abort();
    const running = (this.#running = new AbortController());
    const isNew = files !== this.#files;
    this.#files = files;
    this.#clear();
    if (isNew) goTo(this.section);
    const compared = files.slice(0, MOST_IMAGES);
    try {
      const answers = await this.#askForAll(compared, running.signal);
      this.activity.rest(
        files.length > MOST_IMAGES ? `These are the first ${MOST_IMAGES} of ${files.length}.` : "",
      );
      this.#present(compared, answers);
    } catch (error) {
      if (running.signal.aborted) return;
      running.abort(); // the others of these images
      this.activity.fail(error);
      this.activity.offer("Try again", () => this.show(files));
    }
  }

  /** Photos came in that are shown elsewhere: only a table stays. */
  leave() {
    if (!this.matrix.root.hidden) return;
    this.#running.abort();
    this.#clear();
    this.section.hidden = true;
  }

  #clear() {
    this.activity.rest();
    this.refused.replaceChildren();
    this.matrix.clear();
    this.closest.textContent = this.fine.textContent = "";
  }

  /** Of each image the service's answer, or the error that it got. */
  async #askForAll(files, signal) {
    const answers = [];
    let [next, done] = [0, 0];
    const worker = async () => {
      while (next < files.length) {
        const index = next++;
        answers[index] = await this.#ask(files[index], signal);
        signal.throwIfAborted();
        done += 1;
        this.#say(done, files.length);
      }
    };
    this.#say(0, files.length);
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
    return answers;
  }

  #say(done, total) {
    this.activity.say("Comparing the images", done / total, `${done} of ${total}`);
  }

  async #ask(file, signal) {
    const attempt = async (model) =>
      callForJson("POST", "embed-image", { body: await imageForm(file, { model }), signal });
    try {
      return await service.whenAvailable(() => this.choice.key, attempt, {
        signal,
        onWait: (model) => this.#wait(model),
      });
    } catch (error) {
      if (!(error instanceof ServiceError && OF_THE_IMAGE.includes(error.status))) throw error;
      return error;
    }
  }

  #wait(model) {
    this.activity.say(...waitInWords(model));
    const builtIn = service.builtIn("embedding");
    if (!builtIn) return;
    this.activity.offer("Use the built-in model now", () => this.choice.choose(builtIn.key));
  }

  #present(files, answers) {
    const all = files.map((file, index) => ({ file, answer: answers[index] }));
    const good = all.filter(({ answer }) => !(answer instanceof ServiceError));
    const refused = all
      .filter(({ answer }) => answer instanceof ServiceError)
      .map(({ file, answer }) => ({ file, error: answer }));
    if (good.length === 1) return this.onSingle(good[0].file, refused);
    this.refused.append(...refusals(refused));
    if (good.length === 0) return;
    const images = good.map(({ file }) => file);
    const table = cosines(good.map(({ answer }) => answer.embedding));
    this.matrix.show(images, table);
    this.closest.textContent = closestInWords(images, table);
    const { dims, weights } = good[0].answer;
    const remark = weights ? ` · ${weights} weights, not the published ones` : "";
    this.fine.textContent = `Cosines of vectors of ${dims} numbers: 1 is the same${remark}`;
  }
}
