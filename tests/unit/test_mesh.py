# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests the meshes by reading them as glTF's specification says.

``tests/clients`` shows them with three.js.
"""

from __future__ import annotations

import io
import json
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from app.rendering.mesh import glb

FOCAL_LENGTH = 100.0


@dataclass(frozen=True)
class Mesh:
    description: dict[str, Any]
    positions: NDArray[np.float32]
    texture: NDArray[np.float32]
    triangles: NDArray[np.uint32]
    picture: Image.Image

    def cells(self) -> NDArray[np.float32]:
        """Return the areas that the triangles cover in the photo, in shares of it, with signs."""
        a, b, c = self.texture[self.triangles].transpose(1, 2, 0)
        areas: NDArray[np.float32] = 0.5 * ((b - a)[0] * (c - a)[1] - (b - a)[1] * (c - a)[0])
        return areas

    def depths(self) -> NDArray[np.float32]:
        """Return the depths of the triangles' corners, [m, 3]."""
        return -self.positions[self.triangles][..., 2]


def read(data: bytes) -> Mesh:
    magic, version, length, json_length, json_kind = struct.unpack("<4sII I4s", data[:20])
    assert (magic, version, length, json_kind) == (b"glTF", 2, len(data), b"JSON")
    assert json_length % 4 == 0
    description = json.loads(data[20 : 20 + json_length])
    size, kind = struct.unpack("<I4s", data[20 + json_length :][:8])
    binary = data[28 + json_length :]
    assert kind == b"BIN\0"
    assert size == len(binary) == description["buffers"][0]["byteLength"]
    assert size % 4 == 0
    views = []
    for view in description["bufferViews"]:
        assert view["byteOffset"] % 4 == 0
        views.append(binary[view["byteOffset"] :][: view["byteLength"]])
    accessors = description["accessors"]
    positions = np.frombuffer(views[0], "<f4").reshape(-1, 3)
    texture = np.frombuffer(views[1], "<f4").reshape(-1, 2)
    triangles = np.frombuffer(views[2], "<u4").reshape(-1, 3)
    assert [each["count"] for each in accessors] == [len(positions), len(texture), triangles.size]
    assert accessors[0]["min"] == positions.min(0).tolist()
    assert accessors[0]["max"] == positions.max(0).tolist()
    assert triangles.max() < len(positions)
    assert description["extensionsUsed"] == ["KHR_materials_unlit"]
    return Mesh(description, positions, texture, triangles, Image.open(io.BytesIO(views[3])))


def picture(height: int, width: int) -> NDArray[np.uint8]:
    photo = np.zeros((height, width, 3), np.uint8)
    photo[..., 0] = np.linspace(0, 255, width)
    photo[..., 1] = np.linspace(0, 255, height)[:, None]
    return photo


def with_a_near_square(height: int, width: int) -> NDArray[np.float32]:
    disparity = np.full((height, width), 0.1, np.float32)
    disparity[height // 4 : height // 2, width // 4 : width // 2] = 0.5
    return disparity


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 1), (2, 2), (30, 40), (3, 200)])
@pytest.mark.parametrize("max_vertices", [8, 100, 10_000])
def test_the_mesh_covers_the_photo_once(size: tuple[int, int], max_vertices: int) -> None:
    mesh = read(glb(picture(*size), with_a_near_square(*size), FOCAL_LENGTH, max_vertices))
    assert len(mesh.positions) <= max_vertices
    assert mesh.picture.size == size[::-1]
    # Texture coordinates grow downwards, so a triangle that is counter-clockwise for the camera
    # has a negative area.
    assert (mesh.cells() < 0).all()
    np.testing.assert_allclose(mesh.cells().sum(), -1, rtol=1e-4)


def test_every_vertex_is_where_its_pixel_is_seen() -> None:
    height, width = 30, 40
    mesh = read(glb(picture(height, width), with_a_near_square(height, width), FOCAL_LENGTH, 5000))
    x, y, z = mesh.positions.T
    assert (z < 0).all()
    column, row = width / 2 - FOCAL_LENGTH * x / z, height / 2 + FOCAL_LENGTH * y / z
    np.testing.assert_allclose(column / width, mesh.texture[:, 0], atol=1e-5)
    np.testing.assert_allclose(row / height, mesh.texture[:, 1], atol=1e-5)


def test_no_triangle_stretches_from_one_thing_to_another() -> None:
    height, width = 30, 40
    mesh = read(glb(picture(height, width), with_a_near_square(height, width), FOCAL_LENGTH, 5000))
    depths = mesh.depths()
    np.testing.assert_allclose(depths.max(1), depths.min(1), rtol=1e-5)
    # The near square keeps its size.
    near = depths[:, 0] < 5
    share = -mesh.cells()[near].sum()
    assert share == pytest.approx((height // 4) * (width // 4) / (height * width), rel=0.2)


def test_slopes_are_not_cut() -> None:
    height, width = 60, 80
    disparity = np.repeat(np.linspace(0.02, 1, height, dtype=np.float32)[:, None], width, axis=1)
    mesh = read(glb(picture(height, width), disparity, FOCAL_LENGTH, height * width))
    uncut = read(glb(picture(height, width), np.ones_like(disparity), FOCAL_LENGTH, height * width))
    # Only at the horizon the depth changes by more than a tenth from row to row.
    assert len(mesh.positions) < 1.2 * len(uncut.positions)


def test_large_photos_get_a_texture_that_graphics_processors_hold() -> None:
    mesh = read(glb(picture(4, 9000), np.ones((4, 9000), np.float32), FOCAL_LENGTH, 1000))
    assert mesh.picture.size == (8192, 4)


@pytest.mark.parametrize("seed", range(3))
def test_noise_still_makes_a_mesh_within_the_limit(seed: int) -> None:
    random = np.random.default_rng(seed)
    disparity = np.exp(random.normal(0, 3, (50, 70))).astype(np.float32)
    mesh = read(glb(picture(50, 70), disparity, FOCAL_LENGTH, 1000))
    assert 300 < len(mesh.positions) <= 1000
    np.testing.assert_allclose(mesh.cells().sum(), -1, rtol=1e-4)


@pytest.mark.parametrize("value", [np.nan, np.inf, 0, -1, 1e-45])
def test_a_depth_that_is_no_number_is_no_mesh(value: float) -> None:
    disparity = np.ones((4, 4), np.float32)
    disparity[:] = value
    with pytest.raises(ArithmeticError):
        glb(picture(4, 4), disparity, FOCAL_LENGTH, 100)
