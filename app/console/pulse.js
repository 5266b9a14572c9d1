// SPDX-FileCopyrightText: 2026 The Twinlens authors
// SPDX-License-Identifier: MIT
/** How the service is: in a word for the corner, and in a sentence with what to do about it. */

import { OFFLINE, downloadInWords } from "./models.js";
import { isOnItsWay } from "./service.js";

/**
 * @typedef {object} Pulse
 * @property {"well"|"busy"|"ill"} state "well": the models that requests use by default can answer.
 * @property {string} words
 * @property {string} reason of what is not well, and what to do; or nothing.
 * @property {object} [model] the one that is lacking.
 */

/**
 * @param {object} service
 * @param {(model: object) => boolean} isReplaced whether the user has the built-in model instead.
 * @returns {Pulse}
 */
export function pulse(service, isReplaced) {
  const { health, readiness, models } = service;
  if (!health) {
    const reason = "The service does not answer. See whether it runs; this page goes on asking.";
    return { state: "ill", words: "not reachable", reason };
  }
  if (health.reason) return { state: "ill", words: "not well", reason: health.reason };
  const needed = [service.model(health.default_model), service.model(service.currentDepth)];
  const missing = needed.filter((model) => model && !canAnswer(model));
  const missed = missing.filter((model) => !isReplaced(model));
  const lacking = missed.length ? missed : missing;
  const broken = lacking.find((model) => !isOnItsWay(model) && isBroken(model));
  if (broken) {
    const why = broken.needsHub ? `. ${OFFLINE}` : `: ${broken.reason ?? "its files are missing"}.`;
    const words = `not ready for ${purposeOf(broken)}`;
    return { state: "ill", words, reason: `${broken.name} is not there${why}`, model: broken };
  }
  const moving = lacking.find(isOnItsWay);
  if (moving) {
    const words = [moving.state, downloadInWords(moving) || moving.name].join(", ");
    const reason = `${moving.name} is on its way. What needs it waits until it is there.`;
    return { state: "busy", words, reason, model: moving };
  }
  if (readiness?.ready !== true) {
    const reason = readiness?.reason ?? "It does not say why; see its log.";
    return { state: "ill", words: "not ready", reason };
  }
  if (health.model_status === "unavailable") {
    const reason = "Its depth model does not work; see its log, or enter the key.";
    return { state: "ill", words: "not ready for depth", reason };
  }
  const other = models?.find(isOnItsWay);
  if (other) return { state: "well", words: `${other.state} ${other.key}`, reason: "" };
  const isAtWork = health.queue.in_flight || health.queue.waiting;
  return { state: "well", words: isAtWork ? queueInWords(health.queue) : "ready", reason: "" };
}

/** What a model is for, in a word. */
export const purposeOf = ({ type }) => (type === "depth" ? "depth" : "search");

/** A model that is on disk is loaded by the first request. */
const canAnswer = (model) =>
  model.is_downloaded && ["loaded", "not_loaded"].includes(model.state);

const isBroken = (model) => model.willNeverCome || model.state === "unavailable";

export function queueInWords({ in_flight: running, waiting }) {
  if (waiting) return `${running} at work, ${waiting} waiting`;
  return running ? `${running} at work` : "empty";
}
