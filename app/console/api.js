// SPDX-FileCopyrightText: 2026 The Twinlens authors
// SPDX-License-Identifier: MIT
/** Requests to the service. XMLHttpRequest, because fetch cannot tell how far an upload is. */

import { askForKey, headerValue, storedKey } from "./key.js";

const BACKGROUND_SECONDS = 10; // what is asked in the background is answered in milliseconds

/** What went wrong, in the service's own words. */
export class ServiceError extends Error {
  /** Whether the reason is the file that was sent; others may be fine. */
  get isOfTheFile() {
    return this.isUnreadable || [400, 413].includes(this.status);
  }

  constructor(
    title,
    message,
    { status = 0, requestId = null, retryAfter = 10, isUnreadable = false } = {},
  ) {
    super(message);
    Object.assign(this, { title, status, requestId, retryAfter, isUnreadable });
  }
}

/**
 * Send a request; ask for the key where the service wants one.
 * @param {string} method
 * @param {string} path relative to the page.
 * @param {FormData|string} [body] a text is sent as JSON.
 * @param {(fraction: number) => void} [onUpload] told how much of the body is sent, 0 to 1.
 * @param {AbortSignal} [signal]
 * @param {number[]} [expected] statuses beside success that are an answer, too.
 * @param {boolean} [isBackground] see ``askForKey``; such a request does not wait for long, either.
 * @returns {Promise<XMLHttpRequest>} done; ``response`` is a Blob.
 * @throws {ServiceError}
 */
export async function call(method, path, { expected = [], isBackground, ...options } = {}) {
  let answer;
  for (;;) {
    const key = storedKey();
    answer = await exchange(method, path, { key, isBackground, ...options });
    if (answer.status !== 401) break;
    // Another request may have got a key while this one was on its way.
    if (storedKey() === key && !(await askForKey({ isBackground }))) break;
  }
  if (answer.status < 400 || expected.includes(answer.status)) return answer;
  throw await failure(answer);
}

/** The JSON of an answer. */
export async function callForJson(method, path, options) {
  const answer = await call(method, path, options);
  return JSON.parse(await answer.response.text());
}

/** A form with one image, as the routes for photos take it. */
export const imageForm = (file, fields) => fileForm("image", file, fields);

/** A form with a file in the field of this name, and with other fields. */
export async function fileForm(field, file, fields = {}) {
  await checkReadable(file);
  const form = new FormData();
  form.append(field, file, file.name || field);
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  return form;
}

function exchange(method, path, { key, isBackground, body = null, onUpload, signal }) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const request = new XMLHttpRequest();
    request.open(method, path);
    request.responseType = "blob";
    // Sent every few seconds, so the service logs them at DEBUG.
    if (isBackground) request.setRequestHeader("X-Console-Glance", "1");
    if (key) request.setRequestHeader("X-Api-Key", headerValue(key));
    if (typeof body === "string") request.setRequestHeader("Content-Type", "application/json");
    if (onUpload) request.upload.onprogress = (event) => onUpload(event.loaded / event.total);
    request.onload = () => resolve(request);
    request.onerror = () => reject(unreachable());
    // A service that is frozen keeps its connections, and says nothing.
    if (isBackground) request.timeout = 1000 * BACKGROUND_SECONDS;
    request.ontimeout = () => reject(silent());
    request.onabort = () => reject(signal.reason);
    signal?.addEventListener("abort", () => request.abort(), { once: true });
    request.send(body);
  });
}

async function failure(answer) {
  const details = {
    status: answer.status,
    requestId: answer.getResponseHeader("X-Request-ID"),
    retryAfter: Number(answer.getResponseHeader("Retry-After")) || undefined,
  };
  try {
    const { error, message } = JSON.parse(await answer.response.text());
    return new ServiceError(error, message, details);
  } catch {
    // Not the service itself, but something in front of it.
    return new ServiceError("Unexpected answer", `HTTP status ${answer.status}`, details);
  }
}

const unreachable = () =>
  new ServiceError(
    "No connection",
    "The service cannot be reached, or it ended the connection. Is it running?",
  );

const silent = () =>
  new ServiceError("No answer", `The service did not answer within ${BACKGROUND_SECONDS} seconds.`);

/** A folder, or a file that was moved since it was chosen, would only fail as a lost connection. */
async function checkReadable(file) {
  try {
    await file.slice(0, 1).arrayBuffer();
  } catch {
    const message = `${file.name} is a folder, or it is not there any more.`;
    throw new ServiceError("Cannot be read", message, { isUnreadable: true });
  }
}
