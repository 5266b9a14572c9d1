// SPDX-FileCopyrightText: 2026 The Twinlens authors
// SPDX-License-Identifier: MIT
/** A file of each photo of the gallery, all in one ZIP. */

import { Activity } from "./activity.js";
import { call, imageForm } from "./api.js";
import { byId, save, stemOf } from "./dom.js";
import { waitInWords } from "./models.js";
import { service } from "./service.js";
import { each } from "./several.js";
import { distinct, zipped } from "./zip.js";

const VECTORS = "embed-image"; // the path; the others have a depth model
const REFUSED = "refused.txt"; // in the ZIP, what it lacks and why

export class GalleryZip {
  #running = new AbortController();

  /**
   * @param {import("./models.js").Choice} depth
   * @param {import("./models.js").Choice} clip
   * @param {() => {cards: object[], refused: object[]}} photos of now.
   */
  constructor(depth, clip, photos) {
    Object.assign(this, { depth, clip, photos });
    this.activity = new Activity(byId("zip-activity"));
    byId("zip").addEventListener("click", () => this.#make());
  }

  /** Other photos came in. */
  stop() {
    this.#running.abort();
    this.activity.rest();
  }

  async #make() {
    this.#running.abort();
    const { signal } = (this.#running = new AbortController());
    const { cards: shown, refused: before } = this.photos();
    const [path, suffix] = byId("zip-kind").value.split(" ");
    const [cards, refused, files] = [[...shown], [...before], new Map()];
    const say = (done) => {
      this.activity.say("Making the files", done / cards.length, `${done} of ${cards.length}`);
    };
    this.activity.withdraw();
    try {
      await each(cards, say, signal, async (card) => {
        const { file } = card;
        try {
          files.set(card, await this.#fileOf(file, path, signal));
        } catch (error) {
          signal.throwIfAborted();
          if (!error.isOfTheFile) throw error;
          refused.push({ file, error });
        }
      });
      const made = cards.filter((card) => files.has(card));
      if (!made.length) throw refused.at(-1).error;
      const names = made.map(({ file }) => `${stemOf(file)}${suffix}`);
      const blobs = made.map((card) => files.get(card));
      if (refused.length) {
        names.push(REFUSED);
        blobs.push(new Blob([linesOf(refused)]));
      }
      const entries = distinct(names).map((name, index) => ({ name, blob: blobs[index] }));
      const blob = await zipped(entries);
      signal.throwIfAborted();
      save(blob, "twinlens.zip");
      this.activity.rest(savedInWords(made.length, refused));
    } catch (error) {
      if (signal.aborted) return;
      this.activity.fail(error);
      this.activity.offer("Try again", () => this.#make());
    }
  }

  async #fileOf(file, path, signal) {
    const ofVectors = path === VECTORS;
    const attempt = async (model) => {
      const body = await imageForm(file, ofVectors ? { model } : {});
      const address = ofVectors ? path : `${path}&model=${encodeURIComponent(model)}`;
      return call("POST", address, { body, signal });
    };
    const onWait = (model) => this.activity.say(...waitInWords(model));
    const keyNow = () => (ofVectors ? this.clip : this.depth).keep();
    return (await service.whenAvailable(keyNow, attempt, { signal, onWait })).response;
  }
}

/** Of files that are not in the ZIP: a line each. */
const linesOf = (refused) =>
  refused.map(({ file, error }) => `${file.name}: ${error.message}\n`).join("");

function savedInWords(count, refused) {
  const saved = `twinlens.zip is saved, with ${count} ${count === 1 ? "file" : "files"}`;
  if (!refused.length) return `${saved}.`;
  const names = refused.map(({ file }) => file.name).join(", ");
  return `${saved}. Not in it: ${names}; ${REFUSED} in it says why.`;
}
