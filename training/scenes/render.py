# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Casts a ray through each pixel to find its colour and its exact depth along the camera's axis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.scenes.blur import defocused
from training.scenes.compose import Camera, Scene
from training.scenes.solids import MISS, Box, Solid, turned
from training.scenes.textures import Floats, noise

#: Shadow rays start at this share of the depth above a surface, so that it does not shade itself.
_SHADOW_GAP = 2e-3


@dataclass(frozen=True)
class Rendering:
    """Holds a picture and its disparity."""

    #: [h, w, 3] uint8, sRGB
    pixels: NDArray[np.uint8]
    #: [h, w] float32: 1 / depth in 1/metres. Larger means nearer, and the sky is 0. Depth is
    #: measured along the camera's axis, as depth cameras and Depth Anything do.
    disparity: Floats
    #: by which the linear colours were multiplied
    exposure: float


def render(scene: Scene, width: int, height: int, exposure: float | None = None) -> Rendering:
    """Render a scene.

    Args:
        scene: from ``compose``.
        width, height: size of the picture in pixels.
        exposure: that of another view whose colours this one must match; by default it is chosen
            from the picture, as a camera does.
    """
    rays = _rays(scene.camera, width, height)
    depth, owner = _cast(scene, rays)
    linear = _shade(scene, rays, depth, owner)
    if scene.camera.blur:
        linear = defocused(linear, depth, scene.camera)
    if exposure is None:
        exposure = 0.5 / (float(np.percentile(linear, 80)) + 1e-4)
    return Rendering(_developed(linear, exposure), (1 / depth).astype(np.float32), exposure)


def disparity(scene: Scene, width: int, height: int) -> Floats:
    """Return the disparity that ``render`` gives, without the picture, which is much faster."""
    depth, _ = _cast(scene, _rays(scene.camera, width, height))
    return (1 / depth).astype(np.float32)


def _cast(scene: Scene, rays: Floats) -> tuple[Floats, NDArray[np.int16]]:
    """Return the depth at which each ray ends, [h, w], and the index of the solid there, or -1."""
    rows, columns = rays.shape[1:]
    eye = camera_place(scene.camera)
    # Rays advance one metre along the camera's axis with each unit of t, so t is the depth.
    depth = np.full((rows, columns), MISS)
    owner = np.full((rows, columns), -1, np.int16)
    for index, solid in enumerate(scene.solids):
        window = _window(solid, scene.camera, columns, rows)
        part = rays[:, window[0], window[1]]
        if part.size == 0:
            continue
        flat = solid.hit(eye[:, None], part.reshape(3, -1)).reshape(part.shape[1:])
        nearer = flat < depth[window]
        depth[window] = np.where(nearer, flat, depth[window])
        owner[window] = np.where(nearer, np.int16(index), owner[window])
    return depth, owner


def camera_place(camera: Camera) -> Floats:
    """Return where the camera stands, in world coordinates."""
    return np.array([camera.x, camera.height, camera.z], np.float32)


def camera_axes(camera: Camera) -> Floats:
    """Return the camera's directions right, up and forward as rows, in world coordinates."""
    return turned(camera.yaw, -camera.pitch, camera.roll)


def _rays(camera: Camera, columns: int, rows: int) -> Floats:
    """Return rays through all pixels, [3, rows, columns], each 1 long along the camera's axis."""
    focal = camera.focal * max(columns, rows)
    x = (np.arange(columns, dtype=np.float32) + 0.5 - columns / 2) / focal
    y = (rows / 2 - 0.5 - np.arange(rows, dtype=np.float32)) / focal
    across, up = np.meshgrid(x, y)
    local = np.stack([across, up, np.ones_like(across)])
    return np.tensordot(camera_axes(camera).T, local, 1).astype(np.float32)


def _window(solid: Solid, camera: Camera, columns: int, rows: int) -> tuple[slice, slice]:
    """Return the rows and columns of the picture in which a solid may be visible."""
    everywhere = slice(0, rows), slice(0, columns)
    if not np.isfinite(solid.radius):
        return everywhere
    x, y, z = camera_axes(camera) @ (solid.centre - camera_place(camera))
    if z < -solid.radius:
        return slice(0, 0), slice(0, 0)
    if z < 2 * solid.radius:
        return everywhere
    focal = camera.focal * max(columns, rows)
    # Away from the camera's axis, a ball's outline is an ellipse, which is longer by up to 1 /
    # cos^2.
    reach = focal * solid.radius / (z - solid.radius) * (1 + (x * x + y * y) / z**2) + 2
    column, row = columns / 2 + focal * x / z, rows / 2 - focal * y / z
    return (
        slice(max(0, int(row - reach)), max(0, min(rows, int(row + reach) + 1))),
        slice(max(0, int(column - reach)), max(0, min(columns, int(column + reach) + 1))),
    )


def _shade(scene: Scene, rays: Floats, depth: Floats, owner: NDArray[np.int16]) -> Floats:
    """Shade the scene by Lambert's law, with shadows, highlights, haze and the sky.

    The result is linear RGB [rows, columns, 3].
    """
    sky = _sky(scene, rays)
    picture = sky.copy()
    hit = owner >= 0
    ray, distance, owners = rays[:, hit], depth[hit], owner[hit]
    points = camera_place(scene.camera)[:, None] + ray * distance
    albedo, normal = np.empty_like(points), np.empty_like(points)
    gloss = np.zeros_like(distance)
    pixel = distance / (scene.camera.focal * max(depth.shape))
    for index, solid in enumerate(scene.solids):
        mine = owners == index
        if not mine.any():
            continue
        normal[:, mine] = solid.normal(points[:, mine])
        if solid.has_inside:
            normal[:, mine] *= -np.sign((normal[:, mine] * ray[:, mine]).sum(0))
        slant = np.abs((normal[:, mine] * ray[:, mine]).sum(0))
        albedo[:, mine] = solid.colours(points[:, mine], pixel[mine] / np.maximum(slant, 0.05))
        gloss[mine] = solid.gloss
    to_light = scene.light.place[:, None] - points
    away = to_light / np.linalg.norm(to_light, axis=0)
    facing = np.clip((normal * away).sum(0), 0, None)
    lit = facing > 0
    start = points + normal * _SHADOW_GAP * distance
    facing[lit] *= ~_shaded(scene, start[:, lit], to_light[:, lit])
    from_above = 0.75 + 0.25 * normal[1]
    light, ambient = scene.light.colour[:, None], scene.light.ambient[:, None]
    colour = albedo * (light * facing + ambient * from_above)
    mirrored = 2 * (normal * away).sum(0) * normal - away
    view = -ray / np.linalg.norm(ray, axis=0)
    shine = np.clip((mirrored * view).sum(0), 0, 1) ** 30
    colour += light * gloss * shine * (facing > 0)
    clear = np.exp(-distance / scene.sky.haze)
    picture[:, hit] = colour * clear + sky[:, hit] * (1 - clear)
    return np.ascontiguousarray(picture.transpose(1, 2, 0))


def _shaded(scene: Scene, start: Floats, to_light: Floats) -> NDArray[np.bool_]:
    """Return which points lie in shadow, [n]."""
    dark = np.zeros(start.shape[1], bool)
    # A ray cannot hit a ball if it passes the centre at a distance of more than the radius.
    along = to_light / np.linalg.norm(to_light, axis=0)
    for solid in scene.solids[1:]:  # the first, ground or walls, casts no shadow
        if isinstance(solid, Box) and solid.hollow:
            continue
        near = ~dark
        if np.isfinite(solid.radius):
            offset = solid.centre[:, None] - start
            reach = (offset * along).sum(0)
            beside = (offset * offset).sum(0) - reach * reach
            near &= (beside < solid.radius**2) & (reach > -solid.radius)
        if near.any():
            dark[near] = solid.hit(start[:, near], to_light[:, near]) < 1
    return dark


def _sky(scene: Scene, rays: Floats) -> Floats:
    """Return the linear RGB [3, rows, columns] of the sky."""
    sky = scene.sky
    length = np.sqrt((rays * rays).sum(0))
    up = np.clip(rays[1] / length, 0, 1)
    share = np.sqrt(up)
    colour = sky.horizon[:, None, None] * (1 - share) + sky.zenith[:, None, None] * share
    height = np.maximum(up, 0.04)
    clouds = noise(rays[0] / length / height + sky.offset, rays[2] / length / height, 1)
    cover = np.clip((clouds - 1 + sky.cloudiness) * 2.5, 0, 1) * np.clip(up * 8, 0, 1)
    return (colour * (1 - cover) + cover * 0.9).astype(np.float32)


def _developed(linear: Floats, exposure: float) -> NDArray[np.uint8]:
    """Convert linear RGB to sRGB."""
    exposed = np.clip(linear * exposure, 0, None)
    # Bright parts are compressed smoothly instead of being cut off.
    rolled = exposed / (1 + np.maximum(exposed - 0.6, 0) * 0.6)
    return (np.clip(rolled, 0, 1) ** (1 / 2.2) * 255 + 0.5).astype(np.uint8)
