// SPDX-FileCopyrightText: 2026 The Twinlens authors
// SPDX-License-Identifier: MIT
/** A film that the service makes or has made: its progress, and buttons to cancel, play, download. */

import { Activity } from "./activity.js";
import { call, callForJson } from "./api.js";
import { durationInWords, make, save } from "./dom.js";
import { storedKey } from "./key.js";

// Between two looks at a job: the first, and the longest where nothing changes or much is left.
const [SHORT_MS, LONG_MS] = [1000, 5000];
const SLOWER = 1.5;
const LOOKS_OF_THE_REST = 60; // of a long film: so many until it is done
const GONE = 404;

export class FilmCard {
  #isRemoved = false;
  #address = null; // of the film's bytes in the browser

  /**
   * @param {string} id of the job.
   * @param {() => void} onEnd called when the service does not have the job any more.
   */
  constructor(id, onEnd) {
    this.path = `api/jobs/${encodeURIComponent(id)}`;
    this.onEnd = onEnd;
    this.title = make("h3", { textContent: "Film", tabIndex: -1 });
    this.place = make("div", { className: "film" });
    this.buttons = make("div", { className: "buttons" });
    const activity = make("div", { className: "activity" });
    this.activity = new Activity(activity);
    this.element = make("li", {}, this.title, activity, this.place, this.buttons);
  }

  /** Bring the keyboard's focus here. */
  focus() {
    this.title.focus({ preventScroll: true });
    this.element.scrollIntoView({ block: "nearest" });
  }

  /** Ask how far the job is until it has ended; not while nobody sees the page. */
  async follow() {
    let [pause, before] = [SHORT_MS, ""];
    while (!this.#isRemoved) {
      await untilSeen();
      let job;
      try {
        job = await callForJson("GET", this.path, { isBackground: true });
      } catch (error) {
        if (error.status === GONE) return this.#vanish();
        this.activity.say(error.message); // the service may be restarting
      }
      if (this.#isRemoved) return;
      if (job && this.#show(job)) return;
      const now = job ? `${job.state} ${job.frames_done}` : "no answer";
      const slower = now === before ? pause * SLOWER : SHORT_MS;
      const rest = (1000 * (job?.seconds_left ?? 0)) / LOOKS_OF_THE_REST;
      pause = Math.min(LONG_MS, Math.max(slower, rest));
      before = now;
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }

  /** Show a state; returns whether it is the last one. */
  #show(job) {
    this.title.textContent = job.file_name;
    if (job.state === "queued") this.activity.say("Waiting for its turn", null);
    if (job.state === "running") this.activity.say("The film is being made", ...progress(job));
    if (["queued", "running"].includes(job.state)) {
      this.activity.offer("Cancel", () => this.#remove());
      return false;
    }
    if (job.state === "done") {
      this.activity.rest(readyInWords(job));
      this.#present(job);
    } else {
      this.activity.fail({ title: "The film could not be made.", message: job.error ?? "" });
    }
    const remove = make("button", { type: "button", textContent: "Remove" });
    remove.setAttribute("aria-label", `Remove ${job.file_name}`);
    remove.addEventListener("click", () => this.#remove());
    this.buttons.append(remove);
    return true;
  }

  #present(job) {
    const download = make("button", { type: "button", className: "primary" });
    download.textContent = `Download (${sizeInWords(job.bytes)})`;
    download.addEventListener("click", () => this.#download(job));
    this.buttons.append(download);
    if (job.file_name.endsWith(".zip")) return; // there is nothing to play
    // A <video> cannot send the key, so with a key the whole film is fetched first.
    if (storedKey() === null) return this.#play(`${this.path}/result`, job);
    const play = make("button", { type: "button", textContent: "Play" });
    play.addEventListener("click", async () => {
      const content = await this.#content();
      if (!content) return;
      play.remove();
      this.#address = URL.createObjectURL(content);
      this.#play(this.#address, job);
    });
    this.buttons.append(play);
  }

  #play(address, job) {
    const video = make("video", { controls: true, loop: true, preload: "metadata", src: address });
    video.setAttribute("aria-label", job.file_name);
    video.addEventListener("error", () => {
      video.remove();
      const problem = "This browser cannot play the film; please download it.";
      this.activity.say(`${readyInWords(job)} ${problem}`);
    });
    this.place.replaceChildren(video);
  }

  async #download(job) {
    if (storedKey() === null) {
      make("a", { href: `${this.path}/result`, download: job.file_name }).click();
      return;
    }
    const content = await this.#content();
    if (content) save(content, job.file_name);
  }

  async #content() {
    try {
      const { response } = await call("GET", `${this.path}/result`);
      return response;
    } catch (error) {
      this.activity.fail(error);
      return null;
    }
  }

  async #remove() {
    try {
      await call("DELETE", this.path, { expected: [GONE] });
      this.#vanish();
    } catch (error) {
      this.activity.fail(error);
    }
  }

  #vanish() {
    this.#isRemoved = true;
    this.element.remove();
    if (this.#address) URL.revokeObjectURL(this.#address);
    this.onEnd();
  }
}

/** Until somebody sees the page. */
async function untilSeen() {
  while (document.hidden) {
    await new Promise((resolve) => {
      document.addEventListener("visibilitychange", resolve, { once: true });
    });
  }
}

/** That a film was made, and what the user should know about it. */
function readyInWords({ weights, warnings }) {
  const isPublished = weights === null || weights === "published";
  const made = isPublished ? [] : [`It was made with ${weights} weights, not the published ones.`];
  return ["The film is ready.", ...made, ...warnings].join(" ");
}

/** The share that is done, and words, such as "120 of 300 frames, 4.1 a second, 44 s left". */
function progress({ frames_done: done, frames_total: total, ...job }) {
  const { frames_per_second: rate, seconds_left: left } = job;
  const words = [
    total ? `${done} of ${total} frames` : `${done} frames`,
    rate ? `${rate.toFixed(1)} a second` : "",
    left ? `${durationInWords(left)} left` : "",
  ];
  return [total ? Math.min(1, done / total) : null, words.filter(Boolean).join(", ")];
}

const sizeInWords = (bytes) =>
  bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
