// SPDX-FileCopyrightText: 2026 The Twinlens authors
// SPDX-License-Identifier: MIT
/**
 * The page in the frame: shows the files that the console hands over. It says when it is "ready"
 * for one, has "shown" it, or has "failed", and why.
 */

import { byId } from "./dom.js";
import { Headset } from "./headset.js";
import { setUpTilt } from "./motion.js";
import { Orbit } from "./orbit.js";
import { opened } from "./scene_files.js";
import { SceneView } from "./scene_view.js";

const canvas = byId("view");
const view = new SceneView(canvas);
const orbit = new Orbit(canvas, (...place) => view.turn(...place));
const tell = (message) => parent.postMessage(message, location.origin);
let latest = null; // the file that came last
let isGreeted = false;

async function show(kind, file) {
  latest = file;
  try {
    const scene = await opened(kind, file);
    if (latest !== file) return scene.dispose();
    view.show(scene);
    byId("controls").hidden = false;
    if (!isGreeted) orbit.greet();
    isGreeted = true;
    tell({ state: "shown", kind });
  } catch (error) {
    if (latest === file) tell({ state: "failed", message: error.message });
  }
}

const say = (text) => (byId("problem").textContent = text);

addEventListener("message", ({ source, origin, data }) => {
  if (source === parent && origin === location.origin) show(data.kind, data.file);
});
byId("reset").addEventListener("click", () => orbit.reset());
setUpTilt(byId("tilt"), orbit, (state) => {
  const denied = "The browser does not tell how the phone is held; move your finger instead.";
  say(state === "denied" ? denied : "");
});
new Headset(view, byId("headset"), say);
window.hasStarted = true; // the console looks at it when the page has loaded
tell({ state: "ready" });
