# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Builds the file of a 3D scene from a photo and a map: splats or a mesh."""

from __future__ import annotations

import math

import numpy as np

from app.rendering import maps, mesh, splat_files, splats
from app.rendering.formats import Kind
from app.rendering.maps import FloatArray, Levels
from app.rendering.options import Size
from app.rendering.scene_options import Range, SceneFormat, SceneOptions
from app.rendering.splats import Splats

KINDS: dict[SceneFormat, Kind] = {
    "ply": Kind("application/octet-stream", ".ply"),
    "splat": Kind("application/octet-stream", ".splat"),
    "spz": Kind("application/octet-stream", ".spz"),
    "glb": Kind("model/gltf-binary", ".glb"),
}

# Most pixels of a mesh's texture. Devices that show meshes hold textures of up to 4096 pixels an
# edge, but the memory of a request grows with them.
_TEXTURE_PIXELS = 4_000_000
_TEXTURE_EDGE = 4096


def photo_size(photo: Size, options: SceneOptions) -> Size:
    """The size in which a scene needs a photo of this size: no more pixels than it uses."""
    width, height = photo
    most = _TEXTURE_PIXELS if options.is_mesh else splats.PHOTO_SHARE * options.max_splats
    scale = min(1.0, math.sqrt(most / (width * height)))
    if options.is_mesh:
        scale = min(scale, _TEXTURE_EDGE / max(photo))
    return max(1, int(width * scale)), max(1, int(height * scale))


def from_metres(distance: FloatArray, range_: Range) -> FloatArray:
    """The disparity of a map of metres, [h, w] float32; distances are clipped to the range.

    Infinity and NaN (no estimate, such as for the sky) count as infinitely far.
    """
    near, far = range_
    known = np.where(np.isfinite(distance), distance, np.float32(far))
    return (1 / np.clip(known, near, far)).astype(np.float32)


def from_relative(disparity: FloatArray, range_: Range) -> FloatArray:
    """The disparity of a relative map, [h, w] float32, spread over a range of distances.

    Raises:
        ArithmeticError: the map contains infinity or NaN.
    """
    maps.check_finite(disparity)
    near, far = range_
    nearness = maps.normalised(disparity.astype(np.float32, copy=True))
    return (1 / far + nearness * (1 / near - 1 / far)).astype(np.float32, copy=False)


def render(
    photo: Levels, disparity: FloatArray, focal_length: float, options: SceneOptions
) -> Splats | bytes:
    """Splats, or the file of a mesh.

    Args:
        photo: [height, width, 3] uint8 RGB, of the size from ``photo_size``.
        disparity: [h, w] float32 of any size, 1 / distance, finite and above 0.
        focal_length: of the camera, in pixels of ``photo``.
        options: of the request.
    """
    height, width = photo.shape[:2]
    fitted = maps.enlarged(maps.shrunk(disparity, (width, height)), (width, height))
    # Enlarging overshoots at edges.
    np.clip(fitted, disparity.min(), disparity.max(), out=fitted)
    # The network and the enlarging blur an edge over this many pixels on each side.
    softness = 1 + round(width / disparity.shape[1])
    if options.is_mesh:
        fitted = splats.sharpened(fitted, focal_length, softness)
        return mesh.glb(photo, fitted, focal_length, options.max_vertices)
    return splats.lift(photo, fitted, focal_length, softness, options.max_splats)


def encode(scene: Splats | bytes, options: SceneOptions) -> bytes:
    """The file of a scene from ``render``."""
    if isinstance(scene, bytes):
        return scene
    assert options.format != "glb"
    return splat_files.encode(scene, options.format)
