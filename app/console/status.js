// SPDX-FileCopyrightText: 2026 The Twinlens authors
// SPDX-License-Identifier: MIT
/** The service at this moment: device, memory, queue, version, and its models to manage. */

import { Activity } from "./activity.js";
import { callForJson } from "./api.js";
import { byId, make } from "./dom.js";
import { askForKey, forgetKey, storedKey } from "./key.js";
import { OFFLINE, aboutInWords, stateInWords, waitInWords } from "./models.js";
import { pulse, purposeOf, queueInWords } from "./pulse.js";
import { BUILT_IN, isOnItsWay, service } from "./service.js";

export class StatusSection {
  #rows = new Map();

  /** @param {{depth: object, embedding: object}} choices the boxes to choose a model. */
  constructor(choices) {
    this.choices = choices;
    this.pulse = byId("pulse");
    this.state = new Activity(byId("state"));
    this.facts = byId("facts");
    this.models = byId("models");
    this.more = byId("more-models");
    service.addEventListener("change", () => this.#show());
    for (const { select } of Object.values(choices)) {
      select.addEventListener("change", () => this.#show());
    }
    this.cleaning = new Activity(byId("clean-activity"));
    byId("clean").addEventListener("click", () => this.#clean());
    const [enter, forget] = [byId("enter-key"), byId("forget-key")];
    enter.addEventListener("click", async () => (await askForKey()) && service.look());
    forget.addEventListener("click", () => {
      forgetKey();
      service.look();
    });
  }

  async #clean() {
    this.cleaning.say("Looking for memory that nobody needs", null);
    try {
      const { process_rss_mb: resident } = await callForJson("POST", "admin/cleanup");
      this.cleaning.rest(`Done. The service holds ${Math.round(resident)} MB.`);
      service.look();
    } catch (error) {
      this.cleaning.fail(error);
    }
  }

  #show() {
    const { health, models } = service;
    byId("enter-key").hidden = health === null || models !== null;
    byId("forget-key").hidden = storedKey() === null;
    this.#showPulse(pulse(service, ({ type }) => this.#hasBuiltIn(type)));
    if (health) this.facts.replaceChildren(...facts(service).map(described));
    byId("offline").textContent = models?.some((model) => model.needsHub) ? OFFLINE : "";
    for (const [key, row] of this.#rows) {
      if (!service.model(key)) {
        row.element.remove();
        this.#rows.delete(key);
      }
    }
    const isFirst = this.#rows.size === 0;
    for (const model of models ?? []) this.#row(model, isFirst).show(model);
    const more = this.more.querySelectorAll("li").length;
    this.more.hidden = more === 0;
    const folded = `${more} more models, not on disk`;
    const summary = this.more.querySelector("summary");
    if (summary.textContent !== folded) summary.textContent = folded;
  }

  #showPulse({ state, words, reason, model }) {
    if (this.pulse.textContent !== words) this.pulse.textContent = words;
    this.pulse.dataset.state = state;
    this.state.root.dataset.state = state;
    this.state.say(reason);
    const builtIn = model && service.builtIn(model.type);
    if (!builtIn || this.#hasBuiltIn(model.type)) return this.state.withdraw();
    const choose = () => this.choices[model.type].choose(builtIn.key);
    this.state.offer(`Use the built-in model for ${purposeOf(model)}`, choose);
  }

  /** Whether the built-in model of a type is there and chosen. */
  #hasBuiltIn(type) {
    const builtIn = service.builtIn(type);
    return builtIn !== undefined && this.choices[type].key === builtIn.key;
  }

  /**
   * Rows are kept and changed, so that the focus stays where it is. What the service has at first but
   * few people need is folded away; a model that comes later was added by somebody, and is shown.
   */
  #row(model, isFirst) {
    if (!this.#rows.has(model.key)) {
      const row = new ModelRow(model.key);
      this.#rows.set(model.key, row);
      const isFolded = isFirst && !isUsual(model);
      (isFolded ? this.more.querySelector("ul") : this.models).append(row.element);
    }
    return this.#rows.get(model.key);
  }
}

/** Those that Twinlens began with; people know them from the services that it replaces. */
const KNOWN = new Set(["small", "base", "large", "ViT-L-14", "ViT-B-16"]);

function isUsual(model) {
  return KNOWN.has(model.key) || model.is_downloaded || model.state !== "not_loaded";
}

class ModelRow {
  #running = null; // the operation that was asked for and is not done yet
  #mayRemove = false;
  #hasFailed = false; // what was asked for last: its error stays

  constructor(key) {
    this.key = key;
    this.name = make("strong");
    this.state = make("span", { className: "state" });
    this.note = make("p", { className: "quiet" });
    this.button = make("button", { type: "button" });
    this.button.addEventListener("click", () => this.#operate(this.operation));
    this.remove = make("button", { type: "button", className: "plain" });
    this.remove.addEventListener("click", () => this.#remove());
    this.remove.addEventListener("blur", () => this.#askToRemove(false));
    const activity = make("div", { className: "activity" });
    this.activity = new Activity(activity);
    const shown = make("code", { textContent: key }); // what requests call the model
    const about = make("div", {}, this.name, " ", shown, " ", this.state, this.note, activity);
    const buttons = make("div", { className: "buttons" }, this.button, this.remove);
    this.element = make("li", {}, about, buttons);
    this.#askToRemove(false);
  }

  show(model) {
    this.model = model;
    this.name.textContent = model.name;
    this.state.textContent = stateInWords(model);
    this.state.dataset.state = model.state;
    const lack = model.needsHub ? " · not on disk, and nothing is downloaded" : "";
    this.note.textContent = aboutInWords(model) + lack;
    this.operation = this.#running || isOnItsWay(model) ? null : next(model);
    const label = this.operation ? offers[this.operation] : happens[this.#running ?? model.state];
    this.button.hidden = !label;
    if (label && this.button.textContent !== label) this.button.textContent = label;
    this.button.setAttribute("aria-label", `${label} ${model.name}`);
    // Not "disabled": that would take the focus away from who just pressed it.
    this.button.setAttribute("aria-disabled", String(!this.operation));
    // Files of the built-in models, and those behind "sharp", are not this row's to delete.
    const hasOwnFiles = model.huggingface_id !== BUILT_IN && model.type !== "splat";
    const isMoving = this.#running !== null || isOnItsWay(model);
    this.remove.hidden = !model.is_downloaded || !hasOwnFiles || isMoving;
    this.#askToRemove(this.#mayRemove);
    if (isOnItsWay(model)) {
      this.activity.say(...waitInWords(model));
    } else if (model.reason) {
      this.activity.say(model.reason);
    } else if (!this.#hasFailed) {
      this.activity.rest();
    }
  }

  /** Delete after a second press, because a download may take long. */
  #remove() {
    if (!this.#mayRemove) return this.#askToRemove(true);
    this.#askToRemove(false);
    this.#operate("delete");
  }

  #askToRemove(mayRemove) {
    this.#mayRemove = mayRemove;
    const label = mayRemove ? "Delete its files?" : "Delete";
    if (this.remove.textContent !== label) this.remove.textContent = label;
    this.remove.setAttribute("aria-label", `${label} ${this.model?.name ?? this.key}`);
  }

  async #operate(operation) {
    if (!operation || this.#running) return;
    this.#running = operation;
    this.#hasFailed = false;
    this.show(this.model);
    try {
      await service.operate(this.key, this.#running);
    } catch (error) {
      this.#hasFailed = true;
      this.activity.fail(error);
    } finally {
      this.#running = null;
    }
  }
}

const offers = { download: "Download", load: "Load", unload: "Unload" };
const happens = {
  download: "Downloading",
  downloading: "Downloading",
  load: "Loading",
  loading: "Loading",
  unload: "Unloading",
  delete: "Deleting",
};

/** What can be done next with a model; null where nothing can. */
function next(model) {
  if (model.state === "loaded") return "unload";
  if (model.willNeverCome) return null;
  return model.is_downloaded ? "load" : "download";
}

function facts({ health, readiness }) {
  const { device, engine, precision, memory, queue, version, workers } = health;
  const { process_rss_mb: resident, allocated_mb: allocated } = memory;
  const onDevice = allocated ? `, ${Math.round(allocated)} MB on the device` : "";
  const missing = readiness && !readiness.ready ? `not yet: ${readiness.reason}` : "yes";
  return [
    ["Ready", readiness ? missing : "unknown"],
    ["Device", device.name],
    ["Engine", `${engine}, ${precision}`],
    ["Memory", `${Math.round(resident)} MB${onDevice}`],
    ["Queue", queueInWords(queue)],
    ["Workers", workers],
    ["Version", version],
  ];
}

const described = ([name, value]) =>
  make("div", {}, make("dt", { textContent: name }), make("dd", { textContent: value }));
