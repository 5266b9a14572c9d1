// SPDX-FileCopyrightText: 2026 The Twinlens authors
// SPDX-License-Identifier: MIT
/** Models in words, and the box to choose one. */

import { durationInWords, make } from "./dom.js";
import { service } from "./service.js";

const MB = 1e6;

/** How it is with a model, in a word or two. */
export function stateInWords(model) {
  if (model.willNeverCome) return "not on disk";
  if (model.state === "not_loaded") return model.is_downloaded ? "on disk" : "not downloaded";
  return model.state;
}

/** Why a service without the hub lacks models, and the ways out. */
export const OFFLINE =
  "This service downloads nothing, because HF_HUB_OFFLINE is set. After make demo: stop it " +
  "(Ctrl+C) and type make run. With Docker: remove HF_HUB_OFFLINE from twinlens.env.";

/** What a model is good for, how large it is, and who may use it. */
export function aboutInWords({ description, download, memory, license }) {
  const isLimited = license.includes("-NC") || license === "apple-amlr";
  const limit = isLimited ? ", not for commercial use" : "";
  const needs = memory === "unknown" ? "" : `${memory} of memory`;
  const size = download ? `${download} download` : needs;
  const words = [description, size, `licence ${license}${limit}`];
  return words.filter(Boolean).join(" · ");
}

/** "31 of 99 MB, about 2 min", or as much of it as is known. */
export function downloadInWords({ downloaded_bytes: done, total_bytes: total, secondsLeft }) {
  if (!total) return "";
  const left = secondsLeft ? `, about ${durationInWords(secondsLeft)}` : "";
  return `${Math.round(done / MB)} of ${Math.round(total / MB)} MB${left}`;
}

/** How far a model is that something waits for: text, progress, detail for an ``Activity``. */
export function waitInWords(model) {
  const { name, state, reason, downloaded_bytes: done, total_bytes: total } = model;
  if (state === "downloading") {
    const progress = total ? done / total : null;
    return [`${name} is being downloaded.`, progress, downloadInWords(model)];
  }
  // Of a download that failed; nobody knows when the next attempt gets further.
  if (state === "unavailable") return [`${name} is ${reason}. The service tries again.`];
  return [`${name} is being loaded.`, null];
}

/** Beside the bar while words are read: why the first ones take long; or nothing. */
export const firstWords = (model) =>
  model?.text_state === "not_loaded" ? "the first words take up to a minute" : "";

/** The box stays as the user left it; what it says about the models follows the service. */
export class Choice {
  #isTouched = false;
  #arrangement = "";

  /**
   * @param {HTMLSelectElement} select
   * @param {HTMLElement} note says more about the chosen model.
   * @param {string} type "depth" or "embedding".
   * @param {() => string} preferred key of the model until the user chooses another.
   */
  constructor(select, note, type, preferred) {
    Object.assign(this, { select, note, type, preferred });
    service.addEventListener("change", () => this.#show());
    select.addEventListener("change", () => {
      this.#isTouched = true;
      this.#show();
    });
  }

  get key() {
    return this.select.value;
  }

  /** The key that is chosen now; from now on it stays, whatever others load. */
  keep() {
    this.#isTouched ||= this.key !== "";
    return this.key;
  }

  choose(key) {
    this.select.value = key;
    this.select.dispatchEvent(new Event("change"));
  }

  #show() {
    this.#arrange(service.family(this.type));
    const preferred = this.preferred(); // nothing while the service is not reachable
    if (!this.#isTouched && preferred) this.select.value = preferred;
    const chosen = service.model(this.key);
    this.note.textContent = chosen ? aboutInWords(chosen) : "";
    if (!chosen?.willNeverCome) return;
    const reason = chosen.needsHub ? `not on disk. ${OFFLINE}` : (chosen.reason ?? "not on disk");
    this.note.textContent += ` · ${reason}`;
  }

  /** Sorts the models into groups. Entries stay the same elements, so that the choice stays, too. */
  #arrange(models) {
    const groups = [
      ["On disk", models.filter((model) => model.is_downloaded)],
      ["Not downloaded", models.filter((model) => !model.is_downloaded)],
    ].filter(([, members]) => members.length);
    const entries = new Map([...this.select.options].map((option) => [option.value, option]));
    for (const model of models) {
      if (!entries.has(model.key)) entries.set(model.key, make("option", { value: model.key }));
      const entry = entries.get(model.key);
      const text = `${model.name} (${stateInWords(model)})`;
      if (entry.textContent !== text) entry.textContent = text;
    }
    // Compared first, because moving entries would disturb a list that is open.
    const wanted = JSON.stringify(
      groups.map(([label, members]) => [label, members.map(({ key }) => key)]),
    );
    if (wanted === this.#arrangement) return;
    this.#arrangement = wanted;
    const { value } = this.select;
    this.select.replaceChildren(
      ...groups.map(([label, members]) =>
        make("optgroup", { label }, ...members.map(({ key }) => entries.get(key))),
      ),
    );
    // Moving an entry takes its mark as the chosen one.
    if (entries.has(value)) this.select.value = value;
  }
}
