# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Makes a textured mesh from a photo and its disparity, as a binary glTF file (.glb).

Format: glTF 2.0, https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html, with the extension
KHR_materials_unlit, since a photo contains its light already. The photo is a JPEG in the file.

The vertices are pixels of a regular grid, moved to their depth. Where a nearer thing hides its
background, the surface is cut: the cell of the grid that contains the edge becomes part of the
surface that is visible in its middle, with vertices of its own in place of those of the other
surface. So nothing stretches from one thing to another, and from the camera's own place the mesh
still has no gaps and looks like the photo.
"""

from __future__ import annotations

import io
import json
import struct
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.rendering.formats import JPEG_QUALITY

Floats = NDArray[np.float32]
Levels = NDArray[np.uint8]
Indices = NDArray[np.uint32]
_Number = TypeVar("_Number", np.float32, np.uint32)

#: A cell is cut if the disparities at its corners differ by more than this share of the largest of
#: them, that is, if the farthest corner is more than 1.11 times as far away as the nearest. ...
_JUMP = 0.1
#: ... and by more than this share of the largest disparity of the photo: steps between things far
#: away are hardly visible from anywhere, and the ground near the horizon is full of them.
_LEAST = 0.01
#: Many graphics processors have no larger textures.
_LONGEST_TEXTURE = 8192

_GLB_MAGIC, _GLB_VERSION, _JSON, _BINARY = 0x46546C67, 2, 0x4E4F534A, 0x004E4942
_FLOAT, _UINT32, _ARRAY, _ELEMENTS = 5126, 5125, 34962, 34963
_LINEAR, _MIPMAPS, _CLAMPED = 9729, 9987, 33071


def glb(photo: Levels, disparity: Floats, focal_length: float, max_vertices: int) -> bytes:
    """Make a mesh, in glTF's coordinates: the camera at the origin, y up, the scene at -z.

    Beside the file itself this takes about 150 bytes a vertex.

    Args:
        photo: [h, w, 3] uint8, sRGB.
        disparity: [h, w] float32: 1 / depth, all above 0; the depth's unit is that of the result.
        focal_length: of the camera, in pixels of the photo.
        max_vertices: at least 8; the grid is made as coarse as this demands.

    Raises:
        ArithmeticError: a depth is infinite or undefined.
    """
    if not (np.isfinite(disparity).all() and float(disparity.min()) > 0):
        raise ArithmeticError("the map has infinite, undefined or non-positive values")
    surface = _surface(disparity, max_vertices)
    height, width = disparity.shape
    with np.errstate(over="ignore"):  # checked below
        depth: Floats = np.reciprocal(surface.disparity)
    positions = np.empty((len(depth), 3), np.float32)
    positions[:, 0] = (surface.places[:, 0] - width / 2) / focal_length * depth
    positions[:, 1] = (height / 2 - surface.places[:, 1]) / focal_length * depth
    positions[:, 2] = -depth
    if not np.isfinite(positions).all():
        raise ArithmeticError("the map has depths that are too large")
    texture = cast(Floats, surface.places / np.array([width, height], np.float32))
    return _file(positions, texture, surface.triangles, _jpeg(photo))


@dataclass(frozen=True)
class _Surface:
    #: [n, 2] columns and rows in the photo; the first pixel's middle is at 0.5, 0.5
    places: Floats
    #: [n]
    disparity: Floats
    #: [m, 3] indices of vertices, counter-clockwise for the camera
    triangles: Indices


def _surface(disparity: Floats, max_vertices: int) -> _Surface:
    """The finest surface with at most so many vertices."""
    height, width = disparity.shape
    budget = float(max_vertices)
    while True:
        scale = min(1.0, (budget / (height * width)) ** 0.5)
        columns, rows = max(2, int(width * scale)), max(2, int(height * scale))
        surface = _cut(disparity, columns, rows)
        needed = len(surface.disparity)
        if needed <= max_vertices or columns * rows == 4:
            return surface
        # How many vertices the cuts add is known only afterwards.
        budget *= min(0.95, max_vertices / needed)


def _cut(disparity: Floats, columns: int, rows: int) -> _Surface:
    """The surface on a grid of this size, cut along the edges of nearer things."""
    height, width = disparity.shape
    chosen_rows, y = _lines(height, rows)
    chosen_columns, x = _lines(width, columns)
    grid = disparity[np.ix_(chosen_rows, chosen_columns)]
    # The corners of the cells [rows - 1, columns - 1, 4]: top left, top right, bottom left, right.
    numbers = _corners(np.arange(grid.size, dtype=np.uint32).reshape(grid.shape))
    values = _corners(grid)
    near, far = values.max(-1), values.min(-1)
    is_cut = (near - far > _JUMP * near) & (near - far > _LEAST * disparity.max())
    row, column = np.nonzero(is_cut)
    middle = disparity[
        (chosen_rows[row] + chosen_rows[row + 1]) // 2,
        (chosen_columns[column] + chosen_columns[column + 1]) // 2,
    ]
    between = (near[is_cut] + far[is_cut]) / 2
    corners = values[is_cut]
    # Corners on the other side of the edge than the middle of the cell; never all of them.
    beyond = (corners > between[:, None]) != (middle > between)[:, None]
    kept = np.where(beyond, 0, corners).sum(1) / (~beyond).sum(1)
    replaced = numbers[is_cut]
    origins = replaced[beyond]
    added = np.arange(len(origins), dtype=np.uint32) + np.uint32(grid.size)
    replaced[beyond] = added
    numbers[is_cut] = replaced
    places = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
    return _Surface(
        np.concatenate([places, places[origins]]),
        np.concatenate([grid.reshape(-1), np.repeat(kept, beyond.sum(1))]).astype(np.float32),
        numbers.reshape(-1, 4)[:, [0, 2, 1, 1, 2, 3]].reshape(-1, 3),
    )


def _lines(length: int, count: int) -> tuple[NDArray[np.intp], Floats]:
    """Pixels at even distances along an edge of the photo, and their places.

    The places are the middles of the pixels, but for the first and the last, which are moved to the
    photo's border.
    """
    pixels = ((np.arange(count) + 0.5) * (length / count)).astype(np.intp)
    places = (pixels + 0.5).astype(np.float32)
    places[0], places[-1] = 0, length
    return pixels, places


def _corners(grid: NDArray[_Number]) -> NDArray[_Number]:
    return np.stack([grid[:-1, :-1], grid[:-1, 1:], grid[1:, :-1], grid[1:, 1:]], -1)


def _jpeg(photo: Levels) -> bytes:
    height, width = photo.shape[:2]
    scale = _LONGEST_TEXTURE / max(height, width)
    if scale < 1:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        photo = cast(Levels, cv2.resize(photo, size, interpolation=cv2.INTER_AREA))
    file = io.BytesIO()
    Image.fromarray(photo).save(file, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return file.getvalue()


def _file(positions: Floats, texture: Floats, triangles: Indices, jpeg: bytes) -> bytes:
    """The glTF file. All its parts begin at multiples of four bytes."""
    parts: list[Any] = [
        positions.astype("<f4", copy=False).data,
        texture.astype("<f4", copy=False).data,
        triangles.astype("<u4", copy=False).data,
        jpeg + bytes(-len(jpeg) % 4),
    ]
    binary = positions.nbytes + texture.nbytes + triangles.nbytes + len(parts[-1])
    sizes = [positions.nbytes, texture.nbytes, triangles.nbytes, len(jpeg)]
    starts = np.cumsum([0, *sizes[:-1]]).tolist()
    views = [
        {"buffer": 0, "byteOffset": start, "byteLength": size}
        for start, size in zip(starts, sizes, strict=True)
    ]
    for view, target in zip(views, (_ARRAY, _ARRAY, _ELEMENTS), strict=False):
        view["target"] = target
    vertices: dict[str, Any] = {"componentType": _FLOAT, "count": len(positions)}
    accessors = [
        vertices
        | {"bufferView": 0, "type": "VEC3"}
        | {"min": positions.min(0).tolist(), "max": positions.max(0).tolist()},
        vertices | {"bufferView": 1, "type": "VEC2"},
        {"bufferView": 2, "type": "SCALAR", "componentType": _UINT32, "count": triangles.size},
    ]
    material = {
        "pbrMetallicRoughness": {
            "baseColorTexture": {"index": 0},
            # For readers that do not know the extension.
            "metallicFactor": 0,
            "roughnessFactor": 1,
        },
        "doubleSided": True,
        "extensions": {"KHR_materials_unlit": {}},
    }
    attributes = {"POSITION": 0, "TEXCOORD_0": 1}
    clamped = {"wrapS": _CLAMPED, "wrapT": _CLAMPED}
    description = {
        "asset": {"version": "2.0", "generator": "Twinlens"},
        "extensionsUsed": ["KHR_materials_unlit"],
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": attributes, "indices": 2, "material": 0}]}],
        "materials": [material],
        "textures": [{"sampler": 0, "source": 0}],
        "samplers": [{"magFilter": _LINEAR, "minFilter": _MIPMAPS} | clamped],
        "images": [{"bufferView": 3, "mimeType": "image/jpeg"}],
        "buffers": [{"byteLength": binary}],
        "bufferViews": views,
        "accessors": accessors,
    }
    text = json.dumps(description, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % 4)
    return b"".join(
        (
            struct.pack("<III", _GLB_MAGIC, _GLB_VERSION, 28 + len(text) + binary),
            struct.pack("<II", len(text), _JSON),
            text,
            struct.pack("<II", binary, _BINARY),
            *parts,
        )
    )
