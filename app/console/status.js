// SPDX-FileCopyrightText: 2026 The Twinlens authors
// SPDX-License-Identifier: MIT
/** The service at this moment: device, memory, queue, version, and its models to manage. */

import { Activity } from "./activity.js";
import { byId, make } from "./dom.js";
import { askForKey, forgetKey, storedKey } from "./key.js";
import { OFFLINE, aboutInWords, stateInWords, waitInWords } from "./models.js";
import { isOnItsWay, service } from "./service.js";

export class StatusSection {
  #rows = new Map();

  constructor() {
    this.pulse = byId("pulse");
    this.facts = byId("facts");
    this.models = byId("models");
    this.more = byId("more-models");
    service.addEventListener("change", () => this.#show());
    const [enter, forget] = [byId("enter-key"), byId("forget-key")];
    enter.addEventListener("click", async () => (await askForKey()) && service.look());
    forget.addEventListener("click", () => {
      forgetKey();
      service.look();
    });
  }

  #show() {
    const { health, models } = service;
    byId("enter-key").hidden = health === null || models !== null;
    byId("forget-key").hidden = storedKey() === null;
    const [state, words] = pulse(service);
    this.pulse.textContent = words;
    this.pulse.dataset.state = state;
    if (health) this.facts.replaceChildren(...facts(service).map(described));
    byId("offline").textContent = models?.some((model) => model.willNeverCome) ? OFFLINE : "";
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
  #hasFailed = false; // what was asked for last: its error stays

  constructor(key) {
    this.key = key;
    this.name = make("strong");
    this.state = make("span", { className: "state" });
    this.note = make("p", { className: "quiet" });
    this.button = make("button", { type: "button" });
    this.button.addEventListener("click", () => this.#operate());
    const activity = make("div", { className: "activity" });
    this.activity = new Activity(activity);
    const shown = make("code", { textContent: key }); // what requests call the model
    const about = make("div", {}, this.name, " ", shown, " ", this.state, this.note, activity);
    this.element = make("li", {}, about, this.button);
  }

  show(model) {
    this.model = model;
    this.name.textContent = model.name;
    this.state.textContent = stateInWords(model);
    this.state.dataset.state = model.state;
    this.note.textContent = aboutInWords(model);
    this.operation = this.#running || isOnItsWay(model) ? null : next(model);
    const label = this.operation ? offers[this.operation] : happens[this.#running ?? model.state];
    this.button.hidden = !label;
    if (label && this.button.textContent !== label) this.button.textContent = label;
    this.button.setAttribute("aria-label", `${label} ${model.name}`);
    // Not "disabled": that would take the focus away from who just pressed it.
    this.button.setAttribute("aria-disabled", String(!this.operation));
    if (isOnItsWay(model)) {
      this.activity.say(...waitInWords(model));
    } else if (model.reason) {
      this.activity.say(model.reason);
    } else if (!this.#hasFailed) {
      this.activity.rest();
    }
  }

  async #operate() {
    if (!this.operation) return;
    this.#running = this.operation;
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
};

/** What can be done next with a model; null where nothing can. */
function next(model) {
  if (model.state === "loaded") return "unload";
  if (model.willNeverCome) return null;
  return model.is_downloaded ? "load" : "download";
}

/** The service in a few words, and its state: "well", "busy" until a model is there, or "ill". */
function pulse({ health, readiness, models }) {
  if (!health) return ["ill", "not reachable"];
  if (health.reason) return ["ill", health.reason];
  const moving = models?.find(isOnItsWay);
  const isReady = readiness?.ready === true;
  if (moving) return [isReady ? "well" : "busy", `${moving.state} ${moving.key}`];
  if (!isReady) return ["ill", "not ready"];
  if (health.model_status === "unavailable") return ["ill", "ready, but not for depth"];
  const isAtWork = health.queue.in_flight || health.queue.waiting;
  return ["well", isAtWork ? queueInWords(health.queue) : "ready"];
}

function queueInWords({ in_flight: running, waiting }) {
  if (waiting) return `${running} at work, ${waiting} waiting`;
  return running ? `${running} at work` : "empty";
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
