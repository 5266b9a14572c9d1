// SPDX-FileCopyrightText: 2026 The Twinlens authors
// SPDX-License-Identifier: MIT
/** Draws a scene from around the place of the photo's camera, when something has changed. */

import { SparkRenderer } from "@sparkjsdev/spark";
import { Group, MathUtils, PerspectiveCamera, Scene, Vector3, WebGLRenderer } from "three";

const BACKGROUND = 0x101314; // also of the page
// As far aside as one photo shows enough.
const REACH = MathUtils.degToRad(25);
const CLOSEST = 0.5; // of the distance of the scene's middle
const FARTHEST = 1.6;
const NEAR = 0.02; // of the middle's distance: what is closer to the eye is not drawn
const FAR = 2000;

export class SceneView {
  /** Where the scene stands: at the origin, or in VR before who wears the headset. */
  stage = new Group();
  #scene = null; // what ``opened`` gave
  #place = [0, 0, 0];
  #asked = null; // the frame that is asked for

  /** @throws {Error} the browser has no WebGL 2. */
  constructor(canvas) {
    this.canvas = canvas;
    this.renderer = new WebGLRenderer({ canvas, antialias: false });
    this.renderer.setClearColor(BACKGROUND);
    this.renderer.xr.enabled = true;
    this.camera = new PerspectiveCamera();
    this.world = new Scene();
    // It sorts the splats beside the drawing, and asks for another frame when they are sorted.
    const onDirty = () => this.draw();
    // Its own filter makes small splats fainter, so that a scene of a photo seems dark.
    const filter = { preBlurAmount: 0.3, blurAmount: 0 };
    this.world.add(this.stage, new SparkRenderer({ renderer: this.renderer, onDirty, ...filter }));
    new ResizeObserver(() => this.resize()).observe(canvas);
    canvas.addEventListener("webglcontextrestored", () => this.draw());
  }

  /** @param {import("./scene_files.js").Scene} scene is disposed of when another one comes. */
  show(scene) {
    this.#scene?.dispose();
    this.stage.clear().add(scene.content);
    this.#scene = scene;
    this.resize();
  }

  /** Distance of the scene's middle from the photo's camera. */
  get middle() {
    return this.#scene.middle;
  }

  /** Look from elsewhere: -1 to 1, to the right, down and closer. */
  turn(...place) {
    this.#place = place;
    this.draw();
  }

  /** Draw in the browser's next frame; in VR the headset asks for every frame itself. */
  draw() {
    if (!this.#scene || this.renderer.xr.isPresenting) return;
    this.#asked ??= requestAnimationFrame(() => {
      this.#asked = null;
      if (!this.renderer.xr.isPresenting) this.drawNow();
    });
  }

  drawNow() {
    if (!this.renderer.xr.isPresenting) this.#aim();
    this.renderer.render(this.world, this.camera);
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!this.#scene || this.renderer.xr.isPresenting || !width || !height) return;
    this.renderer.setPixelRatio(Math.min(devicePixelRatio, 2));
    this.renderer.setSize(width, height, false);
    const { across, up, middle } = this.#scene;
    // The whole photo is seen, whatever shape the canvas has.
    const half = Math.max(up, (across * height) / width);
    this.camera.fov = 2 * MathUtils.radToDeg(Math.atan(half));
    this.camera.aspect = width / height;
    this.camera.near = NEAR * middle;
    this.camera.far = FAR * middle;
    this.camera.updateProjectionMatrix();
    this.draw();
  }

  /** The camera moves on a ball around the scene's middle, and looks at it. */
  #aim() {
    const [x, y, closer] = this.#place;
    const { middle } = this.#scene;
    const share = closer > 0 ? CLOSEST ** closer : FARTHEST ** -closer;
    const distance = share * middle;
    const [turn, lift] = [x * REACH, -y * REACH];
    this.camera.position.set(
      distance * Math.sin(turn) * Math.cos(lift),
      distance * Math.sin(lift),
      distance * Math.cos(turn) * Math.cos(lift) - middle,
    );
    this.camera.lookAt(new Vector3(0, 0, -middle));
  }
}
