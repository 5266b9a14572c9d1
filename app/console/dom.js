// SPDX-FileCopyrightText: 2026 The Twinlens authors
// SPDX-License-Identifier: MIT
/** Small helpers for the document, which all parts of the console share. */

export const byId = (id) => document.getElementById(id);

/** A new element, with properties and children set. */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** Of files that gave no result: a line each with its name and the reason. */
export const refusals = (refused) =>
  refused.map(({ file, error }) => make("li", {}, `${file.name}: ${error.message}`));

/** "44 s", "12 min" or "1.5 h". */
export function durationInWords(seconds) {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? `${minutes} min` : `${(minutes / 60).toFixed(1)} h`;
}

/** A file's name without its suffix. */
export const stemOf = (file) => file.name.replace(/\.[^.]*$/, "");

/** Whether the user asked for less motion; read anew each time, since it can change. */
export const wantsLessMotion = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** Show a section and go to it, also with the keyboard's focus and a screen reader's attention. */
export function goTo(section) {
  section.hidden = false;
  section.querySelector("h2").focus({ preventScroll: true });
  section.scrollIntoView({ behavior: wantsLessMotion() ? "instant" : "smooth", block: "start" });
}

/** Give a file to the user, as a link with ``download`` would. */
export function save(blob, name) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  // Not at once: some browsers begin to read it a little later.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
