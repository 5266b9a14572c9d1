// SPDX-FileCopyrightText: 2026 The Twinlens authors
// SPDX-License-Identifier: MIT
/**
 * A photo as a 3D scene: asks the service for splats or a mesh, shows them in a frame, gives the
 * files away. The renderer is large, so the frame's page loads it only when someone wants to see.
 */

import { Activity } from "./activity.js";
import { call, imageForm } from "./api.js";
import { fit } from "./compare.js";
import { byId, make, save, wantsLessMotion } from "./dom.js";
import { waitInWords } from "./models.js";
import { service } from "./service.js";

// What the frame asks for, the smaller of two formats of the same splats.
const SHOWN_AS = { splats: "spz", mesh: "glb" };
// Phones and headsets draw at most so many smoothly.
const HANDHELD_SPLATS = 400_000;
const SHARP = "apple/Sharp"; // what the service says of the program, if it has it
const SPLATS = ["spz", "ply", "splat"];

export class SceneSection {
  #photo = null;
  #model = ""; // key of the one whose depth is seen
  #picture = null;
  #files = new Map(); // by format; each a promise of a Blob
  #running = new AbortController();
  #kind = "splats";
  #frame = null;
  #making = 0; // how many files are on their way
  #isDrawing = false;

  constructor() {
    this.section = byId("space-scene");
    this.opener = byId("scene-open");
    this.place = byId("scene-place");
    this.form = byId("scene-form");
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#forgetFiles();
      this.#show();
    });
    this.form.addEventListener("input", () => this.#files.clear()); // of other options
    service.addEventListener("change", () => this.#arrange());
    this.#arrange();
    this.kinds = [...byId("scene-kinds").children];
    this.activity = new Activity(byId("scene-activity"));
    this.opener.addEventListener("click", () => (this.isOpen ? this.#close() : this.#open()));
    for (const button of this.kinds) {
      button.addEventListener("click", () => this.#choose(button.value));
    }
    for (const button of byId("scene-files").children) {
      button.addEventListener("click", () => this.#take(button.value));
    }
  }

  get isOpen() {
    return !this.section.hidden;
  }

  /**
   * A photo's depth is seen, so it can become a scene.
   * @param {File} photo
   * @param {string} model key of the model that made the depth.
   * @param {HTMLImageElement|null} picture has the photo's shape; null where the browser has no
   *   WebGL 2: then there are only files to download.
   */
  offer(photo, model, picture) {
    if (this.#photo === photo && this.#model === model) return;
    const goesOn = this.isOpen && this.#photo === photo;
    if (!goesOn) this.forget();
    this.#forgetFiles();
    this.#photo = photo;
    this.#model = model;
    this.#picture = picture;
    this.opener.hidden = false;
    if (goesOn) this.#show();
  }

  /** Another photo comes: nothing of this one stays, in the frame's memory either. */
  forget() {
    this.#close();
    this.#forgetFiles();
    this.#photo = null;
    this.opener.hidden = true;
  }

  /** Apple's program is there where the service has it; a stand-in of this name is no choice. */
  #arrange() {
    const program = service.model("sharp");
    const box = this.form.elements.model;
    box.closest(".tool").hidden = !program || program.huggingface_id !== SHARP;
    if (box.closest(".tool").hidden) box.value = "";
  }

  get #isOfSharp() {
    return this.form.elements.model.value !== "";
  }

  get #maker() {
    return this.form.elements.model.value || this.#model;
  }

  #forgetFiles() {
    this.#running.abort();
    this.#running = new AbortController();
    this.#files.clear();
    this.activity.rest();
  }

  #open() {
    this.section.hidden = false;
    this.opener.ariaExpanded = "true";
    this.#show();
    const behavior = wantsLessMotion() ? "instant" : "smooth";
    this.section.scrollIntoView({ behavior, block: "nearest" });
  }

  /** A file that was asked for still arrives, and is there when the scene is opened again. */
  #close() {
    this.#frame?.remove();
    this.#frame = null;
    this.#isDrawing = false;
    this.#settle();
    this.section.hidden = true;
    this.opener.ariaExpanded = "false";
  }

  #choose(kind) {
    this.#kind = kind;
    for (const button of this.kinds) button.ariaPressed = String(button.value === kind);
    this.#show();
  }

  /** Begin to load the renderer, and ask for the scene meanwhile. */
  async #show() {
    const kind = this.#kind;
    this.place.hidden = !this.#picture;
    if (!this.#picture) {
      this.activity.say("This browser has no WebGL 2, so the scene is only here to download.");
      return;
    }
    this.#frame ??= new Frame(this.place, (message) => this.#hear(message));
    fit(this.place, this.#picture);
    const format = SHOWN_AS[kind];
    const file = await this.#file(format, () => this.#show());
    if (!file || !this.isOpen || kind !== this.#kind) return;
    this.activity.say("Drawing the scene", null);
    this.#isDrawing = true;
    this.#frame.show(kind, file);
  }

  #hear({ state, message }) {
    this.#isDrawing = false;
    if (state === "shown") this.#settle();
    if (state === "failed") {
      this.activity.fail({ title: "The scene cannot be shown here.", message });
    }
  }

  async #take(format) {
    const file = await this.#file(format, () => this.#take(format));
    if (!file) return;
    const stem = this.#photo.name.replace(/\.[^.]*$/, "");
    save(file, `splat_${stem}.${format}`);
  }

  /**
   * The scene in a format, which the service makes only once.
   * @param {() => void} again what "Try again" does after a failure.
   * @returns {Promise<Blob|null>} null after a failure, which is shown, or for another photo.
   */
  async #file(format, again) {
    const { signal } = this.#running;
    if (!this.#files.has(format)) this.#files.set(format, this.#make(format, signal));
    try {
      this.#making += 1;
      const file = await this.#files.get(format).finally(() => (this.#making -= 1));
      if (signal.aborted) return null;
      this.#settle();
      return file;
    } catch (error) {
      if (signal.aborted) return null;
      this.#files.delete(format);
      this.activity.fail(error);
      if (![400, 413].includes(error.status)) this.activity.offer("Try again", again);
      return null;
    }
  }

  /** Clear what is said, unless something is under way or has failed. */
  #settle() {
    const isBusy = this.#making > 0 || this.#isDrawing;
    if (!isBusy && !this.activity.hasFailed) this.activity.rest();
  }

  async #make(format, signal) {
    const { activity } = this;
    const what = format === "glb" ? "the mesh" : "the splats";
    const query = new URLSearchParams({ model: this.#maker, format });
    const isOfSplats = SPLATS.includes(format);
    if (isOfSplats && !this.#isOfSharp && (await isHandheld())) {
      query.set("max_splats", HANDHELD_SPLATS);
    }
    const idle = isOfSplats ? "max_vertices" : "max_splats";
    for (const { name, value } of this.form.elements) {
      if (name && name !== "model" && name !== idle && value) query.set(name, value);
    }
    const attempt = async () => {
      activity.withdraw();
      activity.say("Sending the photo", 0);
      const onUpload = (part) => {
        if (part < 1) activity.say("Sending the photo", part, `${Math.round(100 * part)} %`);
        else activity.say(`The service makes ${what}`, null);
      };
      const body = await imageForm(this.#photo);
      return call("POST", `api/splat?${query}`, { body, onUpload, signal });
    };
    const onWait = (model) => activity.say(...waitInWords(model));
    const answer = await service.whenAvailable(() => this.#maker, attempt, { signal, onWait });
    return answer.response;
  }
}

/** The page that draws. It takes files only after it has said that it is ready. */
class Frame {
  #element;
  #isReady = false;
  #wanted = null;
  #hear;

  /** @param {HTMLElement} place @param {(message: object) => void} hear told what it says. */
  constructor(place, hear) {
    this.#hear = hear;
    this.#element = make("iframe", {
      title: "3D scene",
      src: "ui/scene.html",
      allow: "xr-spatial-tracking; gyroscope; accelerometer",
    });
    // The scripts of the page have run by then, but their message may still be on its way.
    this.#element.addEventListener("load", () => {
      if (!this.#element.contentWindow.hasStarted) this.#fail();
    });
    addEventListener("message", this.#listen);
    place.append(this.#element);
  }

  show(kind, file) {
    this.#wanted = { kind, file };
    if (this.#isReady) this.#hand();
  }

  remove() {
    removeEventListener("message", this.#listen);
    this.#element.remove();
  }

  #hand() {
    this.#element.contentWindow.postMessage(this.#wanted, location.origin);
    this.#wanted = null;
  }

  #listen = ({ source, origin, data }) => {
    if (source !== this.#element.contentWindow || origin !== location.origin) return;
    if (data.state !== "ready") return this.#hear(data);
    this.#isReady = true;
    if (this.#wanted) this.#hand();
  };

  #fail() {
    const message = "Its page did not start in this browser. You can download the files.";
    this.#hear({ state: "failed", message });
  }
}

/** A phone, a tablet or a headset. */
async function isHandheld() {
  if (matchMedia("(pointer: coarse)").matches) return true;
  return Boolean(await navigator.xr?.isSessionSupported("immersive-vr").catch(() => false));
}
