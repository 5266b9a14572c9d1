// SPDX-FileCopyrightText: 2026 The Twinlens authors
// SPDX-License-Identifier: MIT
/**
 * What the service says of itself: asked every second while it is busy with a model, every 5 s
 * while it is not well or at work, and else only when somebody comes back to the page or uses it.
 */

import { call, callForJson, ServiceError } from "./api.js";

const CALM_MS = 5000;
const BUSY_MS = 1000;
const FRESH_MS = 15_000; // how long a calm state is believed while somebody uses the page
const LISTED_SECONDS = 60;
export const BUILT_IN = "built-in";

/** Fires "change" whenever something new is known. */
class Service extends EventTarget {
  /** As of ``GET /api/models/<key>``, and what ``#completed`` adds; null until they are known. */
  models = null;
  currentDepth = null;
  /** As of ``GET /health``; null while the service cannot be reached. */
  health = null;
  /** As of ``GET /ready``; null while nobody answers it. */
  readiness = null;

  #downloads = true; // whether the service can fetch what it lacks
  #watched = new Set();
  #lookedAt = -Infinity;
  #downloadsSeen = new Map(); // by key, when and with how many bytes a download was first seen
  #isAsked = false;
  #wake = () => {};

  start() {
    document.addEventListener("visibilitychange", () => this.look());
    addEventListener("online", () => this.look());
    for (const type of ["focus", "pointerdown", "keydown"]) {
      addEventListener(type, () => {
        if (performance.now() - this.#lookedAt > FRESH_MS) this.look();
      });
    }
    this.#poll();
  }

  model(key) {
    return this.models?.find((model) => model.key === key);
  }

  family(type) {
    return this.models?.filter((model) => model.type === type) ?? [];
  }

  builtIn(type) {
    return this.family(type).find((model) => model.huggingface_id === BUILT_IN);
  }

  /** Look now, and not only when the pause is over. */
  look() {
    this.#isAsked = true;
    this.#wake();
  }

  /** Ask about one model. */
  async describe(key) {
    const path = `api/models/${encodeURIComponent(key)}`;
    const described = this.#completed(await callForJson("GET", path, { isBackground: true }));
    this.models = this.models?.map((model) => (model.key === key ? described : model)) ?? null;
    this.#changed();
    return described;
  }

  /**
   * Load, unload, download or delete; watched every second, because the answer comes at the end.
   * @throws {ServiceError}
   */
  async operate(key, operation) {
    this.#watched.add(key);
    const path = `api/models/${encodeURIComponent(key)}`;
    try {
      const isDelete = operation === "delete";
      const done = isDelete ? call("DELETE", path) : call("POST", `${path}/${operation}`);
      this.look();
      await done;
    } finally {
      this.#watched.delete(key);
      this.look();
    }
  }

  /** Whether the service may ask the hub. */
  get canDownload() {
    return this.#downloads;
  }

  /**
   * Add a model of the hub, and wait until the list has it.
   * @param {{key: string, source: string}} wanted
   * @param {(message: string) => void} onAdded told what the service answered, before the wait.
   * @returns {Promise<object|undefined>} the model; undefined if the list lacks it for a minute.
   * @throws {ServiceError}
   */
  async add(wanted, onAdded) {
    const body = JSON.stringify(wanted);
    const { message } = await callForJson("POST", "api/models", { body });
    onAdded(message);
    this.#watched.add(wanted.key);
    try {
      // The workers are replaced meanwhile.
      for (let seconds = 0; seconds < LISTED_SECONDS && !this.model(wanted.key); seconds++) {
        this.look();
        await new Promise((resolve) => setTimeout(resolve, BUSY_MS));
      }
    } finally {
      this.#watched.delete(wanted.key);
    }
    return this.model(wanted.key);
  }

  /**
   * Try something that needs a model; while the model is not there, watch its download, try again.
   * @template T
   * @param {() => string} keyNow the model to ask; empty while the models are unknown.
   * @param {(key: string) => Promise<T>} attempt
   * @param {AbortSignal} signal ends the wait.
   * @param {(model: object) => void} onWait told how far it is, about once a second.
   * @returns {Promise<T>}
   * @throws {ServiceError}
   */
  async whenAvailable(keyNow, attempt, { signal, onWait }) {
    let wasThere = false;
    for (;;) {
      const key = keyNow();
      try {
        return await attempt(key);
      } catch (error) {
        if (error.status !== 503) throw error;
        if (!key) {
          // The photo was faster than the list of models.
          await this.#lookAtAll();
          signal.throwIfAborted();
          if (keyNow()) continue;
          throw error;
        }
        const model = await this.describe(key);
        signal.throwIfAborted();
        // Without the hub there is nothing to wait for; other failed downloads are tried again.
        if (model.willNeverCome) throw explained(error, model);
        // It may have arrived since that answer: then once more.
        if (isThere(model) && (wasThere || model.state === "unavailable")) {
          throw explained(error, model);
        }
        wasThere = isThere(model);
        if (!wasThere) await this.#arrival(key, { signal, onWait });
      }
    }
  }

  /** Until a model is on disk and not being loaded; also over failed downloads, which go on. */
  async #arrival(key, { signal, onWait }) {
    this.#watched.add(key);
    this.look();
    const over = new AbortController();
    try {
      await new Promise((resolve, reject) => {
        const see = () => {
          const model = this.model(key);
          if (model && isThere(model)) resolve();
          else if (model) onWait(model);
        };
        this.addEventListener("change", see, { signal: over.signal });
        signal.addEventListener("abort", () => reject(signal.reason), { signal: over.signal });
        see();
      });
    } finally {
      over.abort();
      this.#watched.delete(key);
    }
  }

  async #poll() {
    for (;;) {
      const busy = this.#busy();
      const isOld = performance.now() - this.#lookedAt >= CALM_MS;
      const isDue = isOld || this.#isAsked || busy.length === 0;
      this.#isAsked = false;
      // Also unseen, where something waits for the answer.
      if (!document.hidden || this.#watched.size) {
        if (isDue) this.#lookedAt = performance.now();
        if (isDue) await this.#lookAtAll();
        else await Promise.allSettled(busy.map((key) => this.describe(key)));
      }
      if (this.#isAsked) continue; // meanwhile
      const pause = this.#pause();
      await new Promise((resolve) => {
        this.#wake = resolve;
        if (pause !== null) setTimeout(resolve, pause);
      });
    }
  }

  /** Milliseconds until the next look; null where nothing changes until somebody does something. */
  #pause() {
    if (this.#busy().length) return BUSY_MS;
    const isWell = this.readiness?.ready && this.health && !this.health.reason && this.models;
    const isAtWork = this.health?.queue.in_flight || this.health?.queue.waiting;
    return isWell && !isAtWork ? null : CALM_MS;
  }

  async #lookAtAll() {
    const [health, readiness] = await Promise.all([answerOf("health"), answerOf("ready")]);
    // What does not list the models is not the service, but something in front of it.
    this.health = health?.models ? health : null;
    this.readiness = readiness?.models ? readiness : null;
    if (!this.health) return this.#changed();
    try {
      const list = await callForJson("GET", "api/models?type=all", { isBackground: true });
      // Reasons and figures of downloads stand in the one, all that is constant in the other.
      const states = new Map(this.health.models.map((model) => [model.name, model]));
      this.#downloads = list.can_download;
      this.models = list.models.map((model) =>
        this.#completed({ ...states.get(model.key), ...model }),
      );
      this.currentDepth = list.current_model ?? list.default_model;
    } catch (error) {
      if (error.status === 401) this.models = null;
    }
    this.#changed();
  }

  /**
   * With ``willNeverCome``: it is not on disk, and nothing brings it; ``needsHub``: because this
   * service may not ask the hub, which has it; and ``secondsLeft``.
   */
  #completed(model) {
    const isOfHub = model.huggingface_id !== BUILT_IN; // else built-in, or in a folder of its own
    const willNeverCome = !model.is_downloaded && !(this.#downloads && isOfHub);
    const needsHub = willNeverCome && isOfHub;
    return { ...model, willNeverCome, needsHub, secondsLeft: this.#secondsLeft(model) };
  }

  /** Of a download, by its speed since this page saw it first; null while that is unknown. */
  #secondsLeft({ key, state, downloaded_bytes: done, total_bytes: total }) {
    if (state !== "downloading" || done === undefined) {
      this.#downloadsSeen.delete(key);
      return null;
    }
    const now = performance.now() / 1000;
    if (!this.#downloadsSeen.has(key)) this.#downloadsSeen.set(key, [now, done]);
    const [since, before] = this.#downloadsSeen.get(key);
    return total && done > before ? ((total - done) * (now - since)) / (done - before) : null;
  }

  #busy() {
    const moving = (this.models ?? []).filter(isOnItsWay);
    return [...new Set([...moving.map((model) => model.key), ...this.#watched])];
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}

/** What a probe answers, with 200 or 503; null where there is no JSON. */
async function answerOf(probe) {
  try {
    return await callForJson("GET", probe, { expected: [503], isBackground: true });
  } catch {
    return null;
  }
}

export const isOnItsWay = ({ state }) => state === "downloading" || state === "loading";

const isThere = (model) => model.is_downloaded && model.state !== "loading";

/** The same error with the reason that the model gives. */
function explained(error, { name, reason }) {
  return new ServiceError(error.title, reason ? `${name}: ${reason}` : error.message, error);
}

export const service = new Service();
