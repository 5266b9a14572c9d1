// SPDX-FileCopyrightText: 2026 The Twinlens authors
// SPDX-License-Identifier: MIT
/** From a photo to its depth: sending, waiting, showing. */

import { Activity } from "./activity.js";
import { call, imageForm } from "./api.js";
import { CommandLine, curlOfPhoto } from "./curl.js";
import { byId, goTo, refusals } from "./dom.js";
import { DepthView } from "./depth_view.js";
import { MakeForm } from "./make_form.js";
import { PhotoLabels } from "./photo_labels.js";
import { Choice, waitInWords } from "./models.js";
import { SceneSection } from "./scene.js";
import { service } from "./service.js";

export class DepthSection {
  #file = null;
  #running = new AbortController();
  #bridged = null; // the photo that the built-in model sees while the chosen one is on its way
  #isAnswered = false; // by the chosen model
  #made = ""; // how the map that is seen was made, in words
  #maker = ""; // key of the model that made it
  #then = ""; // what else was asked for: "scene" or "pair"

  /** @param {import("./models.js").Choice} clip the box to choose the model for labels. */
  constructor(clip) {
    this.labels = new PhotoLabels(clip, (line) => this.commandLine.show(line));
    this.section = byId("depth");
    this.title = byId("depth-title");
    this.fine = byId("depth-fine");
    this.activity = new Activity(byId("depth-activity"));
    this.refused = byId("depth-refused");
    this.commandLine = new CommandLine(byId("depth-curl"));
    this.view = new DepthView((colours, name) => {
      const path = addressOf(this.#maker) + (colours ? `&colormap=${colours}` : "");
      this.commandLine.show(curlOfPhoto(path, this.view.file, name));
    });
    this.make = new MakeForm((path, name, map) => {
      this.commandLine.show(curlOfPhoto(path, this.#file, name, map));
    });
    this.scene = new SceneSection();
    const preferred = () => service.currentDepth;
    this.choice = new Choice(byId("depth-model"), byId("depth-model-note"), "depth", preferred);
    this.choice.select.addEventListener("change", () => this.#file && this.show(this.#file));
  }

  /**
   * Show a photo and its depth; a photo that is still on its way is forgotten.
   * @param {File} file
   * @param {object[]} refused files that came with it and gave no result, each with its error.
   * @param {""|"scene"|"pair"} then what to make of it when its depth is there.
   */
  async show(file, refused = [], then = "") {
    this.#running.abort();
    if (file !== this.#file) {
      this.refused.replaceChildren(...refusals(refused));
      this.scene.forget();
      this.make.forget();
      this.labels.forget();
      this.commandLine.root.hidden = true;
    }
    this.#then = then;
    this.#running = new AbortController();
    const { signal } = this.#running;
    this.#file = file;
    this.#isAnswered = false;
    this.title.after(byId("depth-choice"));
    this.title.textContent = `Depth of ${file.name}`;
    if (this.view.file !== file) this.#made = "";
    this.fine.textContent = this.#made;
    this.activity.rest();
    if (this.section.hidden || this.view.file !== file || then) goTo(this.section);
    try {
      await this.view.showPhoto(file);
      signal.throwIfAborted();
      const onWait = (model) => this.#wait(model, file, signal);
      const keyNow = () => this.choice.keep();
      const attempt = (key) => this.#ask(file, key, signal);
      const answer = await service.whenAvailable(keyNow, attempt, { signal, onWait });
      this.#isAnswered = true;
      await this.#present(answer, signal);
      this.activity.rest(this.view.remark);
      this.#continue();
      service.look(); // the model may be loaded only now
    } catch (error) {
      if (signal.aborted) return;
      this.activity.fail(error);
      if ([400, 413].includes(error.status)) return; // the photo is the reason
      this.activity.offer("Try again", () => this.show(file, refused, then));
      const builtIn = service.builtIn("depth");
      if (!builtIn || error.status === 0 || this.choice.key === builtIn.key) return;
      this.activity.offer("Use the built-in model now", () => this.choice.choose(builtIn.key));
    }
  }

  /** What a card of the gallery asked for beside the depth. */
  #continue() {
    if (this.#then === "scene" && !this.scene.isOpen) this.scene.opener.click();
    if (this.#then === "pair") this.make.makePair();
    this.#then = "";
  }

  /** Photos came in that are shown elsewhere: only a map stays. */
  leave() {
    if (this.#made) {
      if (this.activity.hasFailed) this.activity.rest(this.view.remark);
      return;
    }
    this.forget();
  }

  /** Other photos came in: nothing of this one stays. */
  forget() {
    this.#running.abort();
    this.#made = "";
    this.#file = null;
    this.activity.rest();
    this.scene.forget();
    this.make.forget();
    this.labels.forget();
    this.refused.replaceChildren();
    this.section.hidden = true;
  }

  async #ask(file, key, signal) {
    const { activity } = this;
    activity.withdraw();
    activity.say("Sending the photo", 0);
    const body = await imageForm(file);
    const sent = new AbortController();
    const atWork = () => activity.say(workInWords(service.model(key)), null);
    const onUpload = (part) => {
      if (part < 1) return activity.say("Sending the photo", part, `${Math.round(100 * part)} %`);
      atWork();
      service.addEventListener("change", atWork, { signal: sent.signal });
    };
    try {
      return await call("POST", addressOf(key), { body, onUpload, signal });
    } finally {
      sent.abort();
    }
  }

  /** The model is not there yet: how far it is, and what can be done meanwhile. */
  #wait(model, file, signal) {
    this.activity.say(...waitInWords(model));
    const builtIn = service.builtIn("depth");
    if (!builtIn || this.#bridged === file) return;
    this.activity.offer("Use the built-in model now", () => this.#bridge(builtIn, file, signal));
  }

  /** A first look by the built-in model, until the chosen one is there. */
  async #bridge(builtIn, file, signal) {
    this.#bridged = file;
    this.fine.textContent = `${builtIn.name} is at work.`;
    try {
      const body = await imageForm(file);
      const answer = await call("POST", addressOf(builtIn.key), { body, signal });
      if (!this.#isAnswered) await this.#present(answer, signal);
    } catch (error) {
      if (signal.aborted || this.#isAnswered) return;
      this.fine.textContent = `${builtIn.name}: ${error.message}`;
    }
  }

  async #present(answer, signal) {
    const key = answer.getResponseHeader("X-Model-Used");
    this.#maker = key;
    const isShown = await this.view.showMap(answer.response);
    signal.throwIfAborted();
    if (!isShown) return; // the chosen model was faster than the built-in one's map
    const model = service.model(key);
    this.make.offer(this.#file, key);
    this.labels.offer(this.#file);
    this.scene.offer(this.#file, key, this.view.shape);
    const made = [
      `By ${model?.name ?? "the service"}`,
      timesInWords(answer.getResponseHeader("Server-Timing")),
      `${answer.getResponseHeader("X-Engine")}, ${answer.getResponseHeader("X-Precision")}`,
    ];
    const weights = answer.getResponseHeader("X-Model-Weights");
    if (weights !== "published") made.push(`${weights} weights, not the published ones`);
    this.fine.textContent = this.#made = made.filter(Boolean).join(" · ");
  }
}

const addressOf = (key) => `api/depth?model=${encodeURIComponent(key)}`;

const workInWords = (model) =>
  model?.state === "loading"
    ? `${model.name} is being loaded, the first time a little longer. Your photo is next.`
    : "The service is at work";

/** "in 312 ms (decode 12, infer 240)" from "decode;dur=12.3, infer;dur=240.1". */
function timesInWords(header) {
  const stages = (header ?? "").split(", ").map((part) => part.split(";dur="));
  const times = stages.map(([name, ms]) => [name, Math.round(Number(ms))]);
  const total = times.reduce((sum, [, ms]) => sum + ms, 0);
  const longest = times.filter(([, ms]) => ms > 0).map(([name, ms]) => `${name} ${ms}`);
  return total > 0 ? `in ${total} ms (${longest.join(", ")})` : "";
}
