// SPDX-FileCopyrightText: 2026 The Twinlens authors
// SPDX-License-Identifier: MIT
/** The service's key: asked for once, kept for this tab only. */

import { byId } from "./dom.js";

const PLACE = "twinlens-key";

let key = kept();
let asking = null;
let isDeclined = false;

export const storedKey = () => key;

export function forgetKey() {
  keep(null);
  isDeclined = true;
}

function kept() {
  try {
    return sessionStorage.getItem(PLACE);
  } catch {
    return null; // the browser stores nothing of this site
  }
}

function keep(value) {
  key = value;
  try {
    if (value === null) sessionStorage.removeItem(PLACE);
    else sessionStorage.setItem(PLACE, value);
  } catch {
    // Without storage the key lasts as long as the page.
  }
}

/** The key as a header can carry it: its UTF-8 bytes, one character each. */
export const headerValue = (key) => String.fromCharCode(...new TextEncoder().encode(key));

/**
 * Ask the user; all requests that want the key meanwhile share one dialog.
 * @param {boolean} isBackground whether nobody pressed anything: such a request does not ask again
 *   what was declined.
 * @returns {Promise<boolean>} whether there is a key to try.
 */
export function askForKey({ isBackground = false } = {}) {
  if (isBackground && isDeclined) return Promise.resolve(false);
  asking ??= ask().finally(() => (asking = null));
  return asking;
}

function ask() {
  const dialog = byId("key-dialog");
  const input = byId("key");
  byId("key-problem").textContent = storedKey() ? "The service did not accept this key." : "";
  input.value = "";
  return new Promise((resolve) => {
    dialog.querySelector("form").onsubmit = (event) => {
      event.preventDefault();
      keep(input.value);
      dialog.close("given");
    };
    byId("key-cancel").onclick = () => dialog.close("");
    // Also after Escape.
    dialog.onclose = () => {
      isDeclined = dialog.returnValue !== "given";
      dialog.returnValue = "";
      resolve(!isDeclined);
    };
    dialog.showModal();
  });
}
