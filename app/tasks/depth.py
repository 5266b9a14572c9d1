# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The depth task: from the bytes of a photo to the file of its depth map.

Path of a request: wait for a turn, decode, prepare, infer, render, encode.
"""

from __future__ import annotations

from functools import partial
from typing import Any, BinaryIO

from app.decoding.job import Pixels
from app.engines.base import FloatArray
from app.errors import BadRequest
from app.lending.loaded import LoadedNetwork
from app.lending.manager import Manager
from app.lending.registry import Registry
from app.models.depth_family import DepthFamily
from app.pictures.canvas import Levels
from app.rendering import formats, maps, stereo_layouts
from app.rendering.options import EXACT, DepthOptions, Size
from app.tasks.camera import Camera, estimate
from app.tasks.results import DepthMap, Timings
from app.tasks.turns import IsGone, Turns
from config.models import ModelSpec


class DepthTask:
    """Computes depth maps.

    It runs in the thread of the request, which waits while other processes decode the photo and a
    device thread runs the inference.
    """

    def __init__(self, turns: Turns, manager: Manager, registry: Registry, max_pixels: int) -> None:
        self._turns = turns
        self._manager = manager
        self._registry = registry
        self._max_pixels = max_pixels

    def run(
        self,
        photo: BinaryIO,
        spec: ModelSpec,
        options: DepthOptions = DepthOptions(),  # noqa: B008 - it is frozen
        is_gone: IsGone = lambda: False,
    ) -> DepthMap:
        """Compute the depth map of a photo.

        Args:
            photo: a file in one of ``decode.FORMATS``; it is closed before this returns.
            spec: a depth model.
            options: size, format and look of the answer.
            is_gone: tells whether the client has hung up.

        Raises:
            TwinlensError: the photo is unusable, or the service cannot answer now.
        """
        timings, turns = Timings(), self._turns
        with photo:
            self.check(spec, options)
            found = estimate(turns, photo, spec, partial(self._size, options), is_gone, timings)
            if options.in_metres and not found.family.is_metric:  # it was not known before the load
                raise self._no_metres(spec)
            loaded, size = found.loaded, found.size
            # The camera is needed for metres; the model's own estimate is told in any case.
            camera = found.camera.with_best(
                options.focal_length or None, found.family, found.output, exif=options.in_metres
            )
            numbers = _numbers(found.family, found.output, options, camera)
            check_cancelled = turns.deadline_check(is_gone)
            view: Pixels | None = None
            if options.is_pair:
                # A stereo pair shows the photo itself, which was dropped before the inference.
                view = turns.decode_again(photo, size, check_cancelled, timings)
            with turns.core(check_cancelled):
                with timings.stage("finish"), turns.device_faults():
                    pixels = _render(loaded, numbers, view, size, options)
                del view  # frees a large picture before the file is encoded
                with timings.stage("encode"):
                    file = formats.encode(pixels, options)
        return DepthMap(
            loaded.weights,
            loaded.provenance(),
            timings,
            file,
            float(numbers.min()),
            float(numbers.max()),
            options.unit,
            camera.focal_length,
            camera.field_of_view(),
            camera.size,
        )

    def check(self, spec: ModelSpec, options: DepthOptions) -> None:
        """Raise BadRequest if the options do not suit the model; a model that is not on disk may
        show that only when it is loaded.
        """
        if options.in_metres and self.gives_metres(spec) is False:
            raise self._no_metres(spec)

    def _size(self, options: DepthOptions, photo: Size, network: Size) -> Size:
        """Width and height of the answer. Raises TooLarge if it cannot be encoded."""
        size = options.target(photo, network)
        formats.check(options, size, self._max_pixels)
        return size

    def gives_metres(self, spec: ModelSpec) -> bool | None:
        """Whether a model gives metres, from its row or its checkpoint.

        None while the row does not state it and the checkpoint is not on disk, and for models of
        other tasks.
        """
        if spec.task != "depth" or spec.metric is not None:
            return spec.metric
        family: Any = self._manager.family(spec)
        return family.is_metric if family else None

    def _no_metres(self, spec: ModelSpec) -> BadRequest:
        known = [each.key for each in self._registry.specs("depth") if self.gives_metres(each)]
        others = f"take model={' or '.join(known)}" if known else "nor does any other model here"
        return BadRequest(
            f"{spec.key} does not give metres, only relative depth; {others}",
            title="Invalid option",
        )


def _numbers(
    family: DepthFamily, output: FloatArray, options: DepthOptions, camera: Camera
) -> FloatArray:
    """The map in the unit that the options ask for."""
    if not options.in_metres:
        return family.disparity(output)
    return family.metres(output, camera.input_focal_length())


def _render(
    loaded: LoadedNetwork,
    numbers: FloatArray,
    view: Pixels | None,
    size: Size,
    options: DepthOptions,
) -> formats.Pixels:
    """Pixels of the answer for ``formats.encode``: a map, or a stereo pair of the view."""
    if view is not None:
        return stereo_layouts.arranged(view.image, numbers, options)
    if isinstance(options.size, int):
        numbers = maps.shrunk(numbers, size)
    if options.in_metres:
        return maps.metres(numbers, size)
    if options.format in EXACT:
        return maps.exact(numbers, size, options)
    maps.check_finite(numbers)
    levels: Levels = loaded.network.images.spread(numbers, *size)
    return maps.shown(levels, options)
