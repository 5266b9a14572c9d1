// SPDX-FileCopyrightText: 2026 The Twinlens authors
// SPDX-License-Identifier: MIT
/** Films: one is sent, and a card shows what the service makes of it, also after a reload. */

import { Activity } from "./activity.js";
import { call, fileForm } from "./api.js";
import { byId, goTo } from "./dom.js";
import { FilmCard } from "./film_card.js";
import { FilmOptions } from "./film_options.js";
import { askForKey } from "./key.js";
import { Choice, waitInWords } from "./models.js";
import { service } from "./service.js";

const PLACE = "twinlens-films"; // ids of the jobs that this browser has started

export const isFilm = (file) =>
  file.type.startsWith("video/") || /\.(mp4|m4v|mov|mkv|webm|avi|m?ts|m2ts)$/i.test(file.name);

export class FilmsSection {
  #file = null;
  #sending = null; // what ends it, while a film is on its way

  constructor() {
    this.section = byId("films");
    this.form = byId("film-form");
    this.chosen = byId("film-chosen");
    this.wait = byId("film-wait");
    this.options = new FilmOptions();
    this.button = byId("film-make");
    this.cards = byId("film-cards");
    this.activity = new Activity(byId("film-activity"));
    const preferred = () => service.currentDepth;
    this.choice = new Choice(byId("film-model"), byId("film-model-note"), "depth", preferred);
    this.button.addEventListener("click", () => this.#make());
    for (const id of remembered()) this.#follow(id);
  }

  /**
   * A film was chosen: show the form, where the user says what to make of it; not while another
   * one is sent.
   * @param {File} file
   * @param {number} [others] files that came with it and are left out.
   */
  show(file, others = 0) {
    if (this.#sending) {
      this.wait.textContent = `${file.name} is left out: wait for the upload, or press Cancel.`;
      return goTo(this.section);
    }
    this.#file = file;
    const note = others ? ` (one film at a time; left out: ${others} more)` : "";
    this.chosen.textContent = `${file.name}${note}`;
    this.form.hidden = false;
    this.button.hidden = false;
    this.activity.rest();
    goTo(this.section);
  }

  async #make() {
    const file = this.#file;
    if (!this.options.isValid()) return;
    const sending = (this.#sending = new AbortController());
    const { signal } = sending;
    this.button.hidden = true;
    this.activity.offer("Cancel", () => {
      sending.abort();
      this.#end();
      this.show(file);
    });
    try {
      const key = this.choice.keep();
      if (key) await this.#ensureModel(key, signal);
      this.activity.say("Sending the film", 0);
      const onUpload = (part) => {
        this.activity.say("Sending the film", part, `${Math.round(100 * part)} %`);
      };
      const body = await fileForm("video", file);
      const path = `api/video/${this.options.path()}&job=true&model=${encodeURIComponent(key)}`;
      const answer = await call("POST", path, { body, onUpload, signal });
      const { id } = JSON.parse(await answer.response.text());
      remember([...remembered(), id]);
      this.activity.rest();
      this.form.hidden = true;
      this.#end();
      this.#follow(id).focus();
    } catch (error) {
      if (signal.aborted) return;
      this.#end();
      this.activity.fail(error);
      this.button.hidden = false;
    }
  }

  /** The film is sent, or it will not be: another one may come. */
  #end() {
    this.#sending = null;
    this.wait.textContent = "";
  }

  /** A film is large: it is sent only when the model that it needs is there. */
  async #ensureModel(key, signal) {
    const model = await this.#described(key);
    if (model.is_downloaded || model.willNeverCome) return; // the service says what is wrong
    const tell = () => {
      const now = service.model(key);
      if (now && !now.is_downloaded) this.activity.say(...waitInWords(now));
    };
    service.addEventListener("change", tell, { signal });
    try {
      await service.operate(key, "download");
    } finally {
      service.removeEventListener("change", tell);
    }
    signal.throwIfAborted();
  }

  /** The user pressed a button, so a key that was declined before is asked for again. */
  async #described(key) {
    try {
      return await service.describe(key);
    } catch (error) {
      if (error.status !== 401 || !(await askForKey())) throw error;
      return service.describe(key);
    }
  }

  #follow(id) {
    const card = new FilmCard(id, () => {
      remember(remembered().filter((each) => each !== id));
      this.section.hidden = this.form.hidden && !this.cards.children.length;
    });
    this.section.hidden = false;
    this.cards.prepend(card.element);
    card.follow();
    return card;
  }
}

function remembered() {
  try {
    const ids = JSON.parse(localStorage.getItem(PLACE));
    return Array.isArray(ids) ? ids : [];
  } catch {
    return []; // not written by this page, or storage is switched off
  }
}

function remember(ids) {
  try {
    localStorage.setItem(PLACE, JSON.stringify(ids));
  } catch {
    // Without storage the cards last as long as the page.
  }
}
