// SPDX-FileCopyrightText: 2026 The Twinlens authors
// SPDX-License-Identifier: MIT
/** Words that may fit a photo, and how probable the service finds each. */

import { callForJson, imageForm } from "./api.js";
import { curlOfLabels } from "./curl.js";
import { make } from "./dom.js";

/** What the fields of a form say: words with commas between them, and a sentence around each. */
export function labelsIn(words, sentence) {
  const labels = words.split(",").map((word) => word.trim()).filter(Boolean);
  const fields = [...new Set(labels)].map((label) => ["labels", label]);
  if (sentence.trim()) fields.push(["templates", sentence.trim()]);
  return fields;
}

/**
 * @param {File} file a photo.
 * @param {[string, string][]} fields as of ``labelsIn``.
 * @returns {Promise<{results: object[]}>} the answer of ``POST /classify``.
 */
export async function classified(file, fields, model, signal) {
  const body = await imageForm(file, { model });
  for (const [name, value] of fields) body.append(name, value);
  return callForJson("POST", "classify", { body, signal });
}

/** Show what was found, the most probable first. */
export function showLabels(list, answer) {
  const results = [...(answer?.results ?? [])];
  results.sort((one, other) => other.probability - one.probability);
  list.hidden = results.length === 0;
  list.replaceChildren(
    ...results.map(({ label, probability }) =>
      make("li", {}, make("span", { textContent: label }), " ", percent(probability)),
    ),
  );
}

/** The label that fits best, in words. */
export function bestLabel({ results }) {
  const best = results.reduce((one, other) => (other.probability > one.probability ? other : one));
  return `${best.label}, ${percent(best.probability)}`;
}

export const howInWords = ({ function: name }) =>
  name === "softmax"
    ? "The percentages of a photo add up to 100: they say which of these words fits best."
    : "Each word has a percentage of its own: none may fit, or several.";

export const curlOf = (file, fields, model) => curlOfLabels(file, [...fields, ["model", model]]);

const percent = (share) => {
  const value = 100 * share;
  return value > 0 && value < 1 ? "under 1\u00a0%" : `${Math.round(value)}\u00a0%`;
};
