// SPDX-FileCopyrightText: 2026 The Twinlens authors
// SPDX-License-Identifier: MIT

// Shows files as the programs do that people open them with.

import * as THREE from "three";
import { GLTFLoader } from "three/addons/loaders/GLTFLoader.js";
import { SparkRenderer, SplatMesh } from "@sparkjsdev/spark";

/** A canvas of the photo's size, seen by the photo's camera (at the origin, looking along -z). */
class View {
  constructor(width, height, focalLength) {
    this.renderer = new THREE.WebGLRenderer({ preserveDrawingBuffer: true });
    this.renderer.setSize(width, height);
    document.body.replaceChildren(this.renderer.domElement);
    const angle = (2 * Math.atan(height / 2 / focalLength) * 180) / Math.PI;
    this.camera = new THREE.PerspectiveCamera(angle, width / height, 0.01, 100000);
    this.scene = new THREE.Scene();
    // Where nothing is drawn, this colour shows.
    this.scene.background = new THREE.Color(1, 0, 1);
  }

  /** The picture as a data URL of a PNG. */
  draw() {
    this.renderer.render(this.scene, this.camera);
    return this.renderer.domElement.toDataURL("image/png");
  }

  close() {
    this.renderer.dispose();
    this.renderer.forceContextLoss();
  }
}

/**
 * A file of splats, drawn by Spark.
 *
 * @param {string} url
 * @param {boolean} yIsDown  the file's y axis points down, so that users turn it over
 * @param {object} camera  of the photo: width, height, focalLength
 * @param {number[]} aside  a second place of the camera, which there looks at ``ahead``
 * @param {number[]} ahead
 * @param {object} options  of Spark's renderer
 */
window.showSplats = async (url, yIsDown, { width, height, focalLength }, aside, ahead, options) => {
  const view = new View(width, height, focalLength);
  const spark = new SparkRenderer({ renderer: view.renderer, ...options });
  const mesh = new SplatMesh({ url });
  await mesh.initialized;
  if (yIsDown) mesh.quaternion.set(1, 0, 0, 0);
  view.scene.add(spark, mesh);
  const count = mesh.packedSplats.numSplats;
  const front = await settled(view, spark, count);
  view.camera.position.set(...aside);
  view.camera.lookAt(...ahead);
  const beside = await settled(view, spark, count);
  view.close();
  return { front, beside, count };
};

/** The final picture: Spark draws nothing, or in an old order, until its worker has sorted. */
async function settled(view, spark, count) {
  let picture = null;
  for (;;) {
    const next = view.draw();
    const isSorted = spark.activeSplats === count && !spark.sorting && !spark.sortDirty;
    if (isSorted && next === picture) return picture;
    picture = next;
    do await new Promise((resolve) => setTimeout(resolve, 20));
    while (spark.sorting);
  }
}

/** A glTF file, drawn by three.js from the place of the photo's camera. */
window.showMesh = async (url, { width, height, focalLength }) => {
  const view = new View(width, height, focalLength);
  const { scene } = await new GLTFLoader().loadAsync(url);
  view.scene.add(scene);
  const front = view.draw();
  const meshes = [];
  scene.traverse((part) => {
    if (part.isMesh) meshes.push(part);
  });
  view.close();
  return {
    front,
    materials: meshes.map((mesh) => mesh.material.type),
    vertices: meshes.map((mesh) => mesh.geometry.attributes.position.count),
  };
};

window.ready = true;
