// SPDX-FileCopyrightText: 2026 The Twinlens authors
// SPDX-License-Identifier: MIT
/** Several photos: a card for each; found by words or by likeness; all in one ZIP. */

import { Activity } from "./activity.js";
import { call, callForJson, imageForm } from "./api.js";
import { Card } from "./card.js";
import { CommandLine, curlOfJson } from "./curl.js";
import { byId, goTo, refusals } from "./dom.js";
import { GalleryZip } from "./gallery_zip.js";
import { release } from "./images.js";
import { bestLabel, classified, curlOf, howInWords, labelsIn, showLabels } from "./labels.js";
import { Choice, firstWords, waitInWords } from "./models.js";
import { photoOf } from "./preview.js";
import { service } from "./service.js";
import { each } from "./several.js";

const MOST_PHOTOS = 500; // each card holds two small pictures
const MOST_READ_OUT = 12; // photos whose labels a screen reader is told at once
const MAP_EDGE = 480;

/** The box to choose the model for search, likeness and labels. */
export const clipChoice = () =>
  new Choice(
    byId("clip-model"),
    byId("clip-model-note"),
    "embedding",
    () => service.health?.default_model,
  );

export class GallerySection {
  #cards = [];
  #refused = [];
  #running = new AbortController(); // of these photos
  #searching = new AbortController();
  #labelling = null; // the run whose labels are seen; a search that comes later replaces it above

  /**
   * @param {import("./models.js").Choice} depthChoice
   * @param {import("./models.js").Choice} choice the box to choose a CLIP model.
   * @param {object} on
   * @param {(file: File, then?: "scene"|"pair") => void} on.open shows a photo in full.
   * @param {(file: File, refused: object[]) => void} on.single given the only one of several files
   *   that is a photo.
   */
  constructor(depthChoice, choice, on) {
    Object.assign(this, { depthChoice, choice, on });
    this.section = byId("gallery");
    this.list = byId("cards");
    this.refused = byId("gallery-refused");
    this.found = byId("found");
    this.fine = byId("gallery-fine");
    this.search = byId("search");
    this.words = byId("search-words");
    this.reset = byId("search-reset");
    this.activity = new Activity(byId("gallery-activity"));
    this.searchActivity = new Activity(byId("search-activity"));
    this.commandLine = new CommandLine(byId("gallery-curl"));
    this.labels = byId("labels");
    this.labels.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#label();
    });
    byId("labels-reset").addEventListener("click", () => {
      this.#removeLabels();
      byId("labels-words").focus();
    });
    this.choice.select.addEventListener("change", () => this.#forgetVectors());
    this.search.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.words.value.trim()) this.#find(this.words.value.trim());
    });
    this.reset.addEventListener("click", () => {
      this.#showAll();
      this.words.focus();
    });
    this.zip = new GalleryZip(depthChoice, choice, () => ({
      cards: this.#cards,
      refused: this.#refused,
    }));
    service.addEventListener("change", () => {
      const isHidden = service.models !== null && !this.#canSearch;
      for (const part of [this.search, this.labels]) part.hidden = isHidden;
      byId("zip-kind").querySelector("[value^=embed-image]").disabled = isHidden;
    });
  }

  get #canSearch() {
    return service.family("embedding").length > 0;
  }

  /**
   * Show photos; those that are still on their way are forgotten.
   * @param {File[]} files
   * @param {object[]} [refused] files that came with them and are none, each with its error.
   */
  async show(files, refused = []) {
    this.leave();
    this.#refused = [...refused];
    this.refused.replaceChildren(...refusals(refused));
    const { signal } = this.#running;
    const shown = files.slice(0, MOST_PHOTOS);
    this.#cards = shown.map((file) => this.#card(file));
    this.#showCount();
    goTo(this.section);
    this.list.replaceChildren(...this.#cards.map(({ element }) => element));
    await this.#fill([...this.#cards], signal, files.length);
  }

  /** Other photos came in. */
  leave() {
    this.#running.abort();
    this.#searching.abort();
    this.#running = new AbortController();
    for (const part of [this.activity, this.searchActivity]) part.rest();
    this.zip.stop();
    this.#cards = [];
    this.#refused = [];
    this.refused.replaceChildren();
    this.list.replaceChildren();
    this.fine.textContent = this.found.textContent = "";
    this.commandLine.root.hidden = this.reset.hidden = true;
    byId("labels-reset").hidden = true;
    this.section.hidden = true;
  }

  #card(file) {
    const { open } = this.on;
    const actions = {
      Depth: ["open", () => open(file)],
      "3D": ["the 3D scene of", () => open(file, "scene")],
      Stereo: ["a stereo pair of", () => open(file, "pair")],
    };
    if (service.models === null || this.#canSearch) {
      actions.Similar = ["photos like", () => this.#findLike(card)];
    }
    const card = new Card(file, actions);
    return card;
  }

  async #fill(cards, signal, total) {
    const say = (done) => {
      this.activity.say("Making the depth maps", done / cards.length, `${done} of ${cards.length}`);
    };
    try {
      await each(cards, say, signal, (card) => this.#fillOne(card, signal));
      const remark = total > MOST_PHOTOS ? `These are the first ${MOST_PHOTOS} of ${total}.` : "";
      this.activity.rest(remark);
      service.look();
      const [first] = this.#cards;
      if (this.#cards.length === 1) this.on.single(first.file, this.#refused);
    } catch (error) {
      if (signal.aborted) return;
      this.#running.abort();
      this.activity.fail(error);
      this.activity.offer("Try again", () => this.#showAgain());
      this.#offerBuiltIn(this.activity, this.depthChoice, "depth", () => this.#showAgain());
    }
  }

  #showAgain() {
    this.show(this.#cards.map(({ file }) => file), this.#refused);
  }

  async #fillOne(card, signal) {
    const { file } = card;
    const photo = photoOf(file, { size: MAP_EDGE, signal });
    const attempt = async (key) => {
      const query = new URLSearchParams({ model: key, size: MAP_EDGE, format: "webp" });
      return call("POST", `api/depth?${query}`, { body: await imageForm(file), signal });
    };
    try {
      if (service.models && !service.family("depth").length) return card.show(await photo, null);
      const keyNow = () => this.depthChoice.keep();
      const answer = await service.whenAvailable(keyNow, attempt, {
        signal,
        onWait: (model) => {
          this.activity.say(...waitInWords(model));
          this.#offerBuiltIn(this.activity, this.depthChoice, "depth", () => this.#showAgain());
        },
      });
      await card.show(await photo, answer.response);
    } catch (error) {
      release(await photo.catch(() => null));
      signal.throwIfAborted();
      if (!error.isOfTheFile) throw error;
      this.#refuse(card, error);
    }
  }

  #refuse(card, error) {
    if (!this.#cards.includes(card)) return; // its depth or its vector was refused before
    this.#refused.push({ file: card.file, error });
    this.refused.replaceChildren(...refusals(this.#refused));
    card.element.remove();
    this.#cards = this.#cards.filter((other) => other !== card);
    this.#showCount();
  }

  #showCount() {
    const count = this.#cards.length;
    byId("gallery-title").textContent = count === 1 ? "1 photo" : `${count} photos`;
  }

  #offerBuiltIn(activity, choice, type, then) {
    const builtIn = service.builtIn(type);
    if (!builtIn || choice.key === builtIn.key) return;
    activity.offer("Use the built-in model now", () => {
      choice.choose(builtIn.key);
      then();
    });
  }

  // -- search ----------------------------------------------------------------------------------

  async #find(text) {
    const body = { text, model: "" };
    const wanted = async (signal) => {
      const attempt = (model) => {
        body.model = model;
        this.searchActivity.say("Reading the words", null, firstWords(service.model(model)));
        return callForJson("POST", "embed-text", { body: JSON.stringify(body), signal });
      };
      return (await this.#whenAvailable(attempt, signal, () => this.#find(text))).embedding;
    };
    const best = await this.#rank(wanted, () => this.#find(text));
    if (!best) return;
    this.found.textContent = `Best for “${text}”: ${best.file.name}, ${best.score.textContent}.`;
    this.commandLine.show(curlOfJson("embed-text", body));
  }

  async #findLike(card) {
    const again = () => this.#findLike(card);
    const best = await this.#rank(() => card.vector, again, card);
    if (!best) return;
    this.found.textContent =
      `Most similar to ${card.file.name}: ${best.file.name}, ${best.score.textContent}.`;
  }

  /**
   * Sort the cards by their likeness to a vector.
   * @param {(signal: AbortSignal) => Promise<number[]>|number[]} wanted asked when all photos have
   *   theirs.
   * @param {() => void} again what "Try again" does.
   * @param {Card} [itself] is no answer to its own question.
   * @returns {Promise<Card|null>} the best one; null where another search came, or none can be.
   */
  async #rank(wanted, again, itself = null) {
    this.#searching.abort();
    const { signal } = (this.#searching = new AbortController());
    this.searchActivity.withdraw();
    try {
      const missing = this.#cards.filter(({ vector }) => !vector);
      const say = (done) => {
        const part = `${done} of ${missing.length}`;
        this.searchActivity.say("Looking at the photos", done / missing.length, part);
      };
      const embed = (card) => this.#embed(card, signal, again);
      await each(missing, say, signal, embed);
      const goal = await wanted(signal);
      signal.throwIfAborted();
      this.searchActivity.rest();
      if (!goal) return null; // the photo itself was refused, which the list of refusals says
      const scored = this.#cards.map((card) => ({ card, value: cosine(card.vector, goal) }));
      scored.sort((one, other) => other.value - one.value);
      for (const { card, value } of scored) card.rate(value);
      this.list.append(...scored.map(({ card }) => card.element));
      this.reset.hidden = false;
      const words = `Cosines of vectors of ${goal.length} numbers: 1 is the same`;
      const order = "Between words and photos they are small: the order counts.";
      this.fine.textContent = `${words}. ${order}${this.#limits()}`;
      this.found.className = ""; // labels are not shown there
      this.found.focus({ preventScroll: true });
      this.found.scrollIntoView({ block: "nearest" });
      return scored.find(({ card }) => card !== itself)?.card ?? null;
    } catch (error) {
      if (signal.aborted) return null;
      this.#searching.abort(); // the other photos of this search
      this.searchActivity.fail(error);
      this.searchActivity.offer("Try again", again);
      this.#offerBuiltIn(this.searchActivity, this.choice, "embedding", again);
      return null;
    }
  }

  async #embed(card, signal, again) {
    const attempt = async (model) => {
      const body = await imageForm(card.file, { model });
      return callForJson("POST", "embed-image", { body, signal });
    };
    try {
      card.vector = (await this.#whenAvailable(attempt, signal, again)).embedding;
    } catch (error) {
      signal.throwIfAborted();
      if (!error.isOfTheFile) throw error;
      this.#refuse(card, error);
    }
  }

  #whenAvailable(attempt, signal, again) {
    const onWait = (model) => {
      this.searchActivity.say(...waitInWords(model));
      this.#offerBuiltIn(this.searchActivity, this.choice, "embedding", again);
    };
    return service.whenAvailable(() => this.choice.keep(), attempt, { signal, onWait });
  }

  // -- labels ------------------------------------------------------------------------------------

  async #label() {
    const fields = labelsIn(byId("labels-words").value, byId("labels-sentence").value);
    if (!fields.length) return;
    this.#searching.abort();
    this.#searching = this.#labelling = new AbortController();
    const { signal } = this.#searching;
    const again = () => this.#label();
    const cards = [...this.#cards];
    const say = (done) => {
      const first = done ? "" : firstWords(service.model(this.choice.key));
      const part = [`${done} of ${cards.length}`, first].filter(Boolean).join(", ");
      this.searchActivity.say("Looking at the photos", done / cards.length, part);
    };
    this.searchActivity.withdraw();
    this.#showLabels(null);
    this.found.textContent = this.fine.textContent = "";
    try {
      await each(cards, say, signal, async (card) => {
        const attempt = (model) => classified(card.file, fields, model, signal);
        try {
          const answer = await this.#whenAvailable(attempt, signal, again);
          signal.throwIfAborted();
          this.#showLabels(answer, card);
        } catch (error) {
          signal.throwIfAborted();
          if (!error.isOfTheFile) throw error;
          this.#refuse(card, error);
        }
      });
      this.searchActivity.rest();
      const [first] = this.#cards;
      if (!first?.answer) return;
      this.found.className = "unseen"; // read out; the cards show it
      this.found.textContent = this.#cards
        .map(({ file, answer }) => `${file.name}: ${bestLabel(answer)}.`)
        .slice(0, MOST_READ_OUT)
        .join(" ");
      this.fine.textContent = howInWords(first.answer) + this.#limits();
      this.commandLine.show(curlOf(first.file, fields, first.answer.model));
    } catch (error) {
      if (signal.aborted) return;
      this.#searching.abort(); // the other photos
      this.searchActivity.fail(error);
      this.searchActivity.offer("Try again", again);
      this.#offerBuiltIn(this.searchActivity, this.choice, "embedding", again);
    }
  }

  /** Show an answer on one card; or take all away. */
  #showLabels(answer, card = null) {
    for (const each of card ? [card] : this.#cards) {
      each.answer = answer;
      showLabels(each.labels, answer);
    }
    byId("labels-reset").hidden = !answer;
  }

  #removeLabels() {
    this.#showLabels(null);
    if (this.#searching !== this.#labelling) return; // the line tells of a search
    this.#searching.abort();
    this.searchActivity.rest();
    this.found.textContent = this.fine.textContent = "";
  }

  /** What not to expect of the built-in model. */
  #limits() {
    if (this.choice.key !== service.builtIn("embedding")?.key) return "";
    return " The built-in model knows little but drawn shapes and landscapes.";
  }

  #forgetVectors() {
    this.#showLabels(null);
    this.#searching.abort();
    this.searchActivity.rest();
    for (const card of this.#cards) card.vector = null;
    this.#showAll();
  }

  #showAll() {
    for (const card of this.#cards) card.rate(null);
    this.list.append(...this.#cards.map(({ element }) => element));
    this.found.textContent = this.fine.textContent = "";
    this.reset.hidden = true;
  }
}

/** Of two vectors of length 1. */
const cosine = (one, other) => one.reduce((sum, value, i) => sum + value * other[i], 0);
