// SPDX-FileCopyrightText: 2026 The Twinlens authors
// SPDX-License-Identifier: MIT
/** The console: photos come in here, one goes to its depth, several to their similarities. */

import { Activity } from "./activity.js";
import { AddModel } from "./add_model.js";
import { call } from "./api.js";
import { DepthSection } from "./depth.js";
import { byId } from "./dom.js";
import { service } from "./service.js";
import { SimilaritySection } from "./similarity.js";
import { StatusSection } from "./status.js";

const depth = new DepthSection();
const similarity = new SimilaritySection((file, refused) => {
  similarity.leave();
  depth.show(file, refused);
});
new StatusSection();
new AddModel();
const intake = new Activity(byId("intake-activity"));
let taken = 0; // how often photos came in

function take(files) {
  if (files.length === 0) return;
  taken += 1;
  intake.rest();
  document.body.classList.add("used");
  const [first, ...others] = files;
  const canCompare = service.models === null || service.family("embedding").length > 0;
  if (others.length && canCompare) {
    depth.leave();
    similarity.show([...files]);
  } else {
    similarity.leave();
    depth.show(first, [], others);
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
byId("example").addEventListener("click", takeExample);

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
