// SPDX-FileCopyrightText: 2026 The Twinlens authors
// SPDX-License-Identifier: MIT

// Reads a file of splats with gaussian-splats-3d, and packs it as ImmichVR's backend does before it
// hands it to headsets. Prints what came out, as JSON.
//
//   node convert.mjs file.ply|file.splat|file.spz
//
// ImmichVR also leaves out a random third of the splats, which is not done here.

import { readFileSync } from "node:fs";

import * as GaussianSplats3D from "@mkkellogg/gaussian-splats-3d";
import * as THREE from "three";

const { PlyParser, SplatBuffer, SplatBufferGenerator, SplatParser, SpzLoader } = GaussianSplats3D;

// Its settings: splats with an opacity of at most 15 of 255 are dropped, numbers are packed tightly.
const MIN_ALPHA = 15;
const COMPRESSION = 2;

// The reader of spz waits with a function of browsers.
globalThis.window = globalThis;

const [, , path] = process.argv;
const file = readFileSync(path);
const data = file.buffer.slice(file.byteOffset, file.byteOffset + file.byteLength);

async function pack() {
  if (path.endsWith(".spz")) {
    // Unlike browsers, Node decompresses no plain ArrayBuffer.
    return SpzLoader.loadFromFileData(new Uint8Array(data), MIN_ALPHA, COMPRESSION);
  }
  const splats = path.endsWith(".ply")
    ? PlyParser.parseToUncompressedSplatArray(data, 0)
    : SplatParser.parseStandardSplatToUncompressedSplatArray(data);
  return SplatBufferGenerator.getStandardGenerator(MIN_ALPHA, COMPRESSION, 0)
    .generateFromUncompressedSplatArray(splats);
}

// The packed file is read anew, as the viewer does it.
const packed = new SplatBuffer((await pack()).bufferData);
const count = packed.getSplatCount();
const centres = [];
const colours = [];
const deviations = [];
const rotations = [];
const [centre, colour, scale] = [new THREE.Vector3(), new THREE.Vector4(), new THREE.Vector3()];
const rotation = new THREE.Quaternion();
for (let index = 0; index < count; index++) {
  packed.getSplatCenter(index, centre);
  packed.getSplatColor(index, colour);
  packed.getSplatScaleAndRotation(index, scale, rotation);
  centres.push(centre.toArray());
  colours.push(colour.toArray());
  deviations.push(scale.toArray());
  rotations.push([rotation.w, rotation.x, rotation.y, rotation.z]);
}
console.log(JSON.stringify({ count, centres, colours, deviations, rotations }));
