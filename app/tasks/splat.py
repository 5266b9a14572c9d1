# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The splat task: from the bytes of a photo to the file of a 3D scene.

Path of a request: wait for a turn, decode, prepare, infer, decode again for the colours, lift the
photo by its depth, encode.
"""

from __future__ import annotations

from dataclasses import replace
from typing import BinaryIO

from app.engines.base import FloatArray
from app.models.depth_family import DepthFamily
from app.rendering import scenes
from app.rendering.scene_options import SceneOptions, default_focal_length
from app.tasks.camera import Camera, estimate
from app.tasks.results import Scene, Timings
from app.tasks.turns import IsGone, Turns
from config.models import ModelSpec


class SplatTask:
    """Makes 3D scenes of photos, with any depth model.

    It runs in the thread of the request, which waits while other processes decode the photo and a
    device thread runs the inference. The scene itself is made by this thread, and while it does,
    it holds one of the worker's cores (``Turns.core``).
    """

    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    def run(
        self,
        photo: BinaryIO,
        spec: ModelSpec,
        options: SceneOptions = SceneOptions(),  # noqa: B008 - it is frozen
        is_gone: IsGone = lambda: False,
    ) -> Scene:
        """Make the scene of a photo.

        Args:
            photo: a file in one of ``decode.FORMATS``; it is closed before this returns.
            spec: a depth model.
            options: format and geometry of the scene.
            is_gone: tells whether the client has hung up.

        Raises:
            TwinlensError: the photo is unusable, or the service cannot answer now.
        """
        timings, turns = Timings(), self._turns
        with photo:
            photo_size = lambda full, _: scenes.photo_size(full, options)  # noqa: E731
            found = estimate(turns, photo, spec, photo_size, is_gone, timings)
            family, output, size, camera = found.family, found.output, found.size, found.camera
            given = options.focal_length(camera.size)
            camera = camera.with_best(given, family, output, exif=True)
            if camera.focal_length is None:
                camera = replace(camera, focal_length=default_focal_length(camera.size))
            disparity = _disparity(family, output, options, camera)
            check_cancelled = turns.deadline_check(is_gone)
            # The scene shows the photo itself, which was dropped before the inference.
            view = turns.decode_again(photo, size, check_cancelled, timings)
            assert camera.focal_length is not None
            focal_length = camera.focal_length * size[0] / camera.size[0]
            with turns.core(check_cancelled):
                with timings.stage("finish"):
                    scene = scenes.render(view.image, disparity, focal_length, options)
                del view  # frees a large picture before the file is encoded
                check_cancelled()
                with timings.stage("encode"):
                    file = scenes.encode(scene, options)
        return Scene(
            found.loaded.weights,
            found.loaded.provenance(),
            timings,
            file,
            "metres" if family.is_metric else "relative",
            camera.focal_length,
            camera.field_of_view(),
            camera.size,
        )


def _disparity(
    family: DepthFamily, output: FloatArray, options: SceneOptions, camera: Camera
) -> FloatArray:
    """The map as 1 / distance in scene units, all of it within the range of the options."""
    distances = options.distances(in_metres=family.is_metric)
    if family.is_metric:
        metres = family.metres(output, camera.input_focal_length())
        return scenes.from_metres(metres, distances)
    return scenes.from_relative(family.disparity(output), distances)
