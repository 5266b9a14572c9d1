// SPDX-FileCopyrightText: 2026 The Twinlens authors
// SPDX-License-Identifier: MIT
/**
 * The photo in 3D: each pixel follows its line of sight into the depth map until it meets the
 * surface there (relief mapping; Policarpo, Oliveira, Comba, "Real-time relief mapping on arbitrary
 * polygonal surfaces", 2005).
 */

import { shrunk } from "./images.js";

// Pixels of the longest edge; more than a view of this size shows.
const PHOTO_EDGE = 2048;
const MAP_EDGE = 1024;
// How far near and far move against each other at full strength, of the picture's width.
const FULL_STRENGTH = 0.14;

const VERTEX = `#version 300 es
in vec2 corner;
out vec2 at;
uniform float zoom;
void main() {
  at = 0.5 + 0.5 * zoom * corner;
  gl_Position = vec4(corner, 0.0, 1.0);
}`;

const FRAGMENT = `#version 300 es
precision highp float;
in vec2 at;
out vec4 colour;
uniform sampler2D photo, map;
uniform vec2 shift;    // from where the line of sight enters the depth to where it leaves it
const int STEPS = 48;
const float STEP = 1.0 / float(STEPS);
const float STILL = 0.5; // the level of depth that stays where it is

vec2 sight(float level) { return at + shift * (level - STILL); }

void main() {
  float level = 1.0, above = 0.0, gap = 0.0;
  for (int i = 0; i <= STEPS; i++) {
    above = gap;
    gap = level - textureLod(map, sight(level), 0.0).r;
    if (gap <= 0.0) break;
    level -= STEP;
  }
  // Between the last step above the surface and the first below it, straight.
  if (above > 0.0) level += STEP * gap / (gap - above);
  colour = textureGrad(photo, sight(level), dFdx(at), dFdy(at));
}`;

export class Parallax {
  #direction = [0, 0];
  #pictures = null;

  /** @throws {Error} the browser has no WebGL 2. */
  constructor(canvas) {
    this.canvas = canvas;
    this.strength = 0.5;
    this.gl = canvas.getContext("webgl2", { antialias: false });
    if (!this.gl) throw new Error("no WebGL 2");
    this.#prepare();
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", () => {
      this.#prepare();
      if (this.#pictures) this.show(...this.#pictures);
    });
    new ResizeObserver(() => this.#resize()).observe(canvas);
    this.#watchDensity();
  }

  /** @param {HTMLImageElement} photo @param {HTMLImageElement} map grey, near is bright. */
  show(photo, map) {
    this.#pictures = [photo, map];
    this.aspect = map.naturalWidth / map.naturalHeight;
    this.#load(0, shrunk(photo, PHOTO_EDGE));
    this.#load(1, shrunk(map, MAP_EDGE));
    this.#resize();
  }

  /** Look from elsewhere: -1 to 1, from the left to the right and from above to below. */
  turn(x, y) {
    this.#direction = [x, y];
    this.draw();
  }

  draw() {
    if (!this.#pictures || this.gl.isContextLost()) return;
    const { gl } = this;
    const [x, y] = this.#direction;
    const reach = this.strength * FULL_STRENGTH;
    gl.viewport(0, 0, gl.drawingBufferWidth, gl.drawingBufferHeight);
    gl.uniform2f(this.shift, x * reach, -y * reach * this.aspect);
    // A little closer, so that what lies beyond the photo's edge stays out of sight.
    gl.uniform1f(this.zoom, 1 - reach);
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
  }

  #prepare() {
    const { gl } = this;
    const program = gl.createProgram();
    for (const [type, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(type);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    gl.useProgram(program);
    this.shift = gl.getUniformLocation(program, "shift");
    this.zoom = gl.getUniformLocation(program, "zoom");
    gl.uniform1i(gl.getUniformLocation(program, "photo"), 0);
    gl.uniform1i(gl.getUniformLocation(program, "map"), 1);
    const corner = gl.getAttribLocation(program, "corner");
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, new Float32Array([-1, -1, 1, -1, -1, 1, 1, 1]), gl.STATIC_DRAW);
    gl.enableVertexAttribArray(corner);
    gl.vertexAttribPointer(corner, 2, gl.FLOAT, false, 0, 0);
    gl.pixelStorei(gl.UNPACK_FLIP_Y_WEBGL, true);
    for (const unit of [0, 1]) {
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR_MIPMAP_LINEAR);
    }
  }

  #load(unit, canvas) {
    const { gl } = this;
    gl.activeTexture(gl.TEXTURE0 + unit);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, canvas);
    gl.generateMipmap(gl.TEXTURE_2D);
  }

  /** A window may come to another screen, and keep its size. */
  #watchDensity() {
    const moved = () => {
      this.#resize();
      this.#watchDensity();
    };
    const here = matchMedia(`(resolution: ${devicePixelRatio}dppx)`);
    here.addEventListener("change", moved, { once: true });
  }

  #resize() {
    const density = Math.min(devicePixelRatio, 2);
    this.canvas.width = Math.round(this.canvas.clientWidth * density);
    this.canvas.height = Math.round(this.canvas.clientHeight * density);
    this.draw();
  }
}
