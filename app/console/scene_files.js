// SPDX-FileCopyrightText: 2026 The Twinlens authors
// SPDX-License-Identifier: MIT
/** From files to what three.js draws, and where the photo's camera sees it. */

import { SplatMesh } from "@sparkjsdev/spark";
import { MeshBasicMaterial, Vector3 } from "three";
import { GLTFLoader } from "three/addons/loaders/GLTFLoader.js";

const SAMPLES = 20_000; // points that are looked at, of all that a scene has
const EDGE = 0.995; // share of the points that count for the picture's edges; a few may lie off

/**
 * A scene, in three.js' coordinates: the camera that took the photo is at the origin and looks to
 * -z; y is up.
 * @typedef {object} Scene
 * @property {import("three").Object3D} content
 * @property {number} across tangent of half the photo's horizontal angle of view.
 * @property {number} up the same, of the vertical one.
 * @property {number} middle distance of what is neither near nor far.
 * @property {() => void} dispose
 */

/** @param {"splats"|"mesh"} kind @param {Blob} file @returns {Promise<Scene>} */
export async function opened(kind, file) {
  const bytes = await file.arrayBuffer();
  return kind === "mesh" ? meshOf(bytes) : splatsOf(bytes);
}

/** Of an SPZ file, whose y points up, as in glTF; in PLY and SPLAT it points down. */
async function splatsOf(fileBytes) {
  const splats = new SplatMesh({ fileBytes });
  await splats.initialized;
  const points = new Points(splats.numSplats);
  splats.forEachSplat((index, { x, y, z }) => points.add(index, x, y, z));
  return { content: splats, ...points.seen(), dispose: () => splats.dispose() };
}

async function meshOf(bytes) {
  const { scene: content } = await new GLTFLoader().parseAsync(bytes, "");
  const parts = [];
  content.traverse((part) => part.isMesh && parts.push(part));
  const total = parts.reduce((sum, part) => sum + part.geometry.attributes.position.count, 0);
  const points = new Points(total);
  const place = new Vector3();
  content.updateMatrixWorld(true);
  let index = 0;
  for (const part of parts) {
    const { position } = part.geometry.attributes;
    for (let i = 0; i < position.count; i++, index++) {
      if (!points.wants(index)) continue;
      place.fromBufferAttribute(position, i).applyMatrix4(part.matrixWorld);
      points.add(index, place.x, place.y, place.z);
    }
    // The photo carries its own light.
    const { map, side } = part.material;
    if (!part.material.isMeshBasicMaterial) part.material = new MeshBasicMaterial({ map, side });
  }
  const dispose = () => parts.forEach((part) => discard(part));
  return { content, ...points.seen(), dispose };
}

function discard({ geometry, material }) {
  geometry.dispose();
  material.map?.source.data?.close?.(); // an ImageBitmap
  material.map?.dispose();
  material.dispose();
}

/** Some of a scene's points, and what the photo's camera sees of them. */
class Points {
  #across = [];
  #up = [];
  #nearness = 0;

  constructor(total) {
    this.stride = Math.max(1, Math.floor(total / SAMPLES));
  }

  wants(index) {
    return index % this.stride === 0;
  }

  add(index, x, y, z) {
    if (!this.wants(index) || z >= 0) return;
    this.#across.push(Math.abs(x / z));
    this.#up.push(Math.abs(y / z));
    this.#nearness -= 1 / z;
  }

  /** @throws {Error} nothing lies before the camera. */
  seen() {
    const count = this.#across.length;
    if (count === 0) throw new Error("The file has nothing to show.");
    return {
      across: edge(this.#across),
      up: edge(this.#up),
      // The mean of the inverse distances: a far sky does not move it away.
      middle: count / this.#nearness,
    };
  }
}

const edge = (tangents) => tangents.sort((a, b) => a - b)[Math.floor(EDGE * (tangents.length - 1))];
