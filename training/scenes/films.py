# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Films of rendered scenes: the camera and a thing move, and the depth of each frame is exact."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from training.scenes import things
from training.scenes.compose import Camera, Scene
from training.scenes.render import Rendering, camera_axes, camera_place, render
from training.scenes.solids import Ball
from training.scenes.textures import Floats
from training.scenes.views import imagine

#: Places that are nearer or farther than what is seen there by more than this are hidden.
_HIDDEN = 0.03
#: Next to an edge, depths differ by more than this factor within this share of the longer side.
_EDGE_FACTOR, _EDGE_WIDTH = 1.15, 0.016


@dataclass(frozen=True)
class View:
    """A frame of a film."""

    camera: Camera
    rendering: Rendering


def film(
    seed: int, frames: int, width: int, height: int, *, is_still: bool = False
) -> Iterator[View]:
    """Yield the frames of a shot.

    The camera walks on by 1.5 cm a frame, sways and turns a little, and a ball flies through the
    picture and towards the camera; with ``is_still`` nothing moves.
    """
    scene = imagine(seed)
    rng = np.random.default_rng([seed, 1])
    look = things.texture(rng, 0.2, ("checker", "stripes", "clouds"))
    exposure = None
    for number in range(frames):
        time = 0 if is_still else number
        camera = replace(
            scene.camera,
            x=scene.camera.x + 0.08 * float(np.sin(time / 9)),
            z=scene.camera.z + 0.015 * time,
            yaw=scene.camera.yaw + 0.02 * float(np.sin(time / 13)),
        )
        place = [-1.2 + 0.06 * time, 1.0 + 0.2 * np.sin(time / 8), 4.0 - 0.03 * time]
        ball = Ball(look, np.array(place, np.float32), size=0.25)
        moved = Scene(camera, (*scene.solids, ball), scene.light, scene.sky)
        rendering = render(moved, width, height, exposure)
        exposure = rendering.exposure  # a camera that is set by hand
        yield View(camera, rendering)


def places(view: View, step: int = 4) -> Floats:
    """World coordinates [3, n] of what a frame shows, for every so many pixels; no sky."""
    disparity = view.rendering.disparity
    rows, columns = np.mgrid[0 : disparity.shape[0] : step, 0 : disparity.shape[1] : step]
    near = disparity[rows, columns]
    rows, columns, near = rows[near > 0.01], columns[near > 0.01], near[near > 0.01]
    height, width = disparity.shape
    focal = view.camera.focal * max(height, width)
    local = np.stack(
        [
            (columns + 0.5 - width / 2) / focal,
            (height / 2 - 0.5 - rows) / focal,
            np.ones(len(rows)),
        ]
    )
    world = camera_axes(view.camera).T @ (local / near)
    return (world + camera_place(view.camera)[:, None]).astype(np.float32)


def seen(view: View, world: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_]]:
    """Rows and columns at which a frame shows places, and whether it shows each of them."""
    disparity = view.rendering.disparity
    height, width = disparity.shape
    focal = view.camera.focal * max(height, width)
    x, y, z = camera_axes(view.camera) @ (world - camera_place(view.camera)[:, None])
    ahead = np.maximum(z, 1e-3)
    columns = np.rint(width / 2 - 0.5 + focal * x / ahead).astype(np.intp)
    rows = np.rint(height / 2 - 0.5 - focal * y / ahead).astype(np.intp)
    inside = (z > 0.05) & (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    rows, columns = np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)
    return rows, columns, inside & (np.abs(disparity[rows, columns] * ahead - 1) < _HIDDEN)


def is_inside(view: View) -> NDArray[np.bool_]:
    """Whether each pixel [h, w] is away from the edges of things.

    The map of a network is soft: there it is wrong in any frame, and differently as an edge passes.
    """
    disparity = np.maximum(view.rendering.disparity, 0.01)
    width = 2 * round(_EDGE_WIDTH * max(disparity.shape)) + 1
    window = np.ones((width, width))
    near, far = cv2.dilate(disparity, window), cv2.erode(disparity, window)
    return np.asarray(near < _EDGE_FACTOR * far, np.bool_)
