// SPDX-FileCopyrightText: 2026 The Twinlens authors
// SPDX-License-Identifier: MIT
/** The console: one photo goes to its depth, several to a gallery, a film to films. */

import { Activity } from "./activity.js";
import { AddModel } from "./add_model.js";
import { call } from "./api.js";
import { DepthSection } from "./depth.js";
import { byId } from "./dom.js";
import { FilmsSection, isFilm } from "./films.js";
import { GallerySection, clipChoice } from "./gallery.js";
import { service } from "./service.js";
import { StatusSection } from "./status.js";

const clip = clipChoice();
const depth = new DepthSection(clip);
const gallery = new GallerySection(depth.choice, clip, {
  open: (file, then) => depth.show(file, [], then),
  single: (file, refused) => {
    gallery.leave();
    depth.show(file, refused);
  },
});
const films = new FilmsSection();
new StatusSection({ depth: depth.choice, embedding: clip });
new AddModel();
const intake = new Activity(byId("intake-activity"));
let taken = 0; // how often photos came in

function take(files) {
  if (files.length === 0) return;
  taken += 1;
  intake.rest();
  document.body.classList.add("used");
  const film = files.find(isFilm);
  if (film) {
    depth.leave();
    gallery.leave();
    films.show(film, files.length - 1);
    return;
  }
  const [first, ...others] = files;
  gallery.leave();
  if (others.length) {
    depth.forget();
    gallery.show([...files]);
  } else {
    depth.show(first);
  }
}

function chooseWith(button, input) {
  button.addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    take([...input.files]);
    input.value = ""; // so that the same file can be chosen again
  });
}

async function takeExample() {
  const before = taken;
  try {
    const { response } = await call("GET", "ui/example.jpg");
    if (taken !== before) return; // the user has chosen a photo meanwhile
    take([new File([response], "example.jpg", { type: "image/jpeg" })]);
  } catch (error) {
    if (taken === before) intake.fail(error);
  }
}

chooseWith(byId("choose"), byId("files"));
chooseWith(byId("take"), byId("camera"));
chooseWith(byId("choose-film"), byId("film-file"));
byId("example").addEventListener("click", takeExample);

// The browser cannot say what is wrong with a field that is folded away.
addEventListener(
  "invalid",
  ({ target }) => {
    const folded = target.closest("details");
    if (folded) folded.open = true;
  },
  { capture: true },
);

// Anywhere on the page; a drop that missed would else replace the page by the photo.
addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.toggle("dragging", event.dataTransfer.types.includes("Files"));
});
addEventListener("dragleave", ({ relatedTarget }) => {
  if (!relatedTarget) document.body.classList.remove("dragging");
});
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  take([...event.dataTransfer.files]);
});
addEventListener("paste", (event) => take([...event.clipboardData.files]));

service.start();
