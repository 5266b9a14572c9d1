// SPDX-FileCopyrightText: 2026 The Twinlens authors
// SPDX-License-Identifier: MIT
/** What was just done, as a command line for a terminal, to copy. */

import { make } from "./dom.js";
import { storedKey } from "./key.js";

/** A command that sends a photo and saves the answer. */
export function curlOfPhoto(path, file, output, map = null) {
  const files = map ? [...field("image", file), ...field("depth", map)] : field("image", file);
  return command(path, ...files, "-o", quoted(output));
}

/** A command that asks which label fits a photo. */
export const curlOfLabels = (file, fields) => {
  const texts = fields.flatMap(([name, value]) => ["--form-string", quoted(`${name}=${value}`)]);
  return command("classify", ...field("image", file), ...texts);
};

/** A file of a form. curl reads some characters of a name as its own, unless it is quoted. */
const field = (name, file) => [
  "-F",
  quoted(`${name}=@"${file.name.replace(/[\\"]/g, "\\$&")}"`),
];

/** A command that sends JSON. */
export const curlOfJson = (path, body) =>
  command(path, "-H", quoted("Content-Type: application/json"), "-d", quoted(JSON.stringify(body)));

function command(path, ...parts) {
  // Not the key itself: a command line stays in the shell's history.
  const key = storedKey() === null ? [] : ["-H", '"X-Api-Key: $SERVICE_API_KEY"'];
  return ["curl", ...key, ...parts, quoted(new URL(path, document.baseURI).href)].join(" ");
}

/** For a POSIX shell. */
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

export class CommandLine {
  #line = make("code");
  #said = make("span", { role: "status", className: "quiet" });

  /** @param {HTMLElement} root an empty ``details``. */
  constructor(root) {
    this.root = root;
    const copy = make("button", { type: "button", textContent: "Copy" });
    copy.addEventListener("click", () => this.#copy());
    root.hidden = true;
    const text = make("pre", { tabIndex: 0 }, this.#line);
    text.setAttribute("role", "group");
    text.setAttribute("aria-label", "Command line");
    root.append(
      make("summary", { textContent: "The same in a terminal" }),
      text,
      make("div", { className: "buttons" }, copy, this.#said),
    );
  }

  show(line) {
    this.#line.textContent = line;
    this.#said.textContent = "";
    this.root.hidden = false;
  }

  async #copy() {
    try {
      await navigator.clipboard.writeText(this.#line.textContent);
      this.#said.textContent = "Copied.";
    } catch {
      // Over plain HTTP browsers give no page the clipboard.
      getSelection().selectAllChildren(this.#line);
      this.#said.textContent = "Selected; press Ctrl+C or ⌘C.";
    }
  }
}
