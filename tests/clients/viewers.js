// SPDX-FileCopyrightText: 2026 The Twinlens authors
// SPDX-License-Identifier: MIT

// Shows files as their users' programs do, from the place of the photo's camera.

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
    // A colour that no photo here has: holes show.
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
 * A file of splats, drawn by spark with its default options.
 *
 * @param {string} url
 * @param {boolean} yIsDown  the file's y axis points down, so that users turn it over
 * @param {object} options  of spark's renderer
 */
window.showSplats = async (url, yIsDown, { width, height, focalLength }, options = {}) => {
  const view = new View(width, height, focalLength);
  const spark = new SparkRenderer({ renderer: view.renderer, ...options });
  const mesh = new SplatMesh({ url });
  await mesh.initialized;
  if (yIsDown) mesh.quaternion.set(1, 0, 0, 0);
  view.scene.add(spark, mesh);
  // Splats are sorted in a worker, and nothing is drawn before. Then the picture stays as it is.
  const count = mesh.packedSplats.numSplats;
  let picture = null;
  for (let still = 0; still < 3; ) {
    const next = view.draw();
    still = spark.activeSplats === count && next === picture ? still + 1 : 0;
    picture = next;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const splats = [];
  mesh.forEachSplat((index, centre, deviations, rotation, opacity, colour) => {
    if (index < 3) {
      splats.push({
        centre: centre.toArray(),
        deviations: deviations.toArray(),
        rotation: rotation.toArray(),
        opacity,
        colour: colour.toArray(),
      });
    }
  });
  view.close();
  return { picture, count, splats };
};

/** A glTF file, drawn by three.js. */
window.showMesh = async (url, { width, height, focalLength }) => {
  const view = new View(width, height, focalLength);
  const { scene } = await new GLTFLoader().loadAsync(url);
  view.scene.add(scene);
  const picture = view.draw();
  const meshes = [];
  scene.traverse((part) => {
    if (part.isMesh) meshes.push(part);
  });
  view.close();
  return {
    picture,
    materials: meshes.map((mesh) => mesh.material.type),
    vertices: meshes.map((mesh) => mesh.geometry.attributes.position.count),
  };
};

window.ready = true;
