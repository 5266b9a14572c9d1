# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The depth task: from the bytes of a photo to the file of its depth map.

Path of a request: wait for a turn, decode, prepare, infer, render, encode.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

from app.decoding.job import Pixels
from app.engines.base import FloatArray
from app.errors import BadRequest
from app.lending.loaded import LoadedNetwork
from app.lending.manager import Manager
from app.lending.registry import Registry, networks_of
from app.models.depth_family import DepthFamily
from app.pictures.canvas import Levels
from app.rendering import formats, maps, stereo_layouts
from app.rendering.options import EXACT, DepthOptions, Size
from app.tasks.results import DepthMap, Timings
from app.tasks.turns import IsGone, Turn, Turns
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
            # The turn ends with the inference, so that the next request can use the device.
            with turns.wait(networks_of(spec)[0], 1, is_gone, timings) as turn:
                loaded = turn.loaded
                if options.in_metres and not loaded.family.is_metric:
                    raise self._no_metres(spec)
                inputs, size, camera = self._prepare(turn, photo, options)
                output = turn.infer(inputs[None])[0]
            output = loaded.family.crop(output, camera.size)
            camera = _known(camera, loaded.family, output, options)
            numbers = _numbers(loaded.family, output, options, camera)
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
        )

    def check(self, spec: ModelSpec, options: DepthOptions) -> None:
        """Raise BadRequest if the options do not suit the model; a model that is not on disk may
        show that only when it is loaded.
        """
        if options.in_metres and self.gives_metres(spec) is False:
            raise self._no_metres(spec)

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

    def _prepare(
        self, turn: Turn, photo: BinaryIO, options: DepthOptions
    ) -> tuple[FloatArray, Size, _Camera]:
        """The network's input for a photo, the size of the answer, and what the photo says of its
        camera.

        The decoded photo is freed when this returns: it is large, and the request may wait long for
        the device.
        """
        family: DepthFamily = turn.loaded.family
        picture = turn.decode(photo, family.decode_size, family.steps)
        size = options.target(picture.size, family.input_size(*picture.size))
        formats.check(options, size, self._max_pixels)
        with turn.preparing():
            inputs = family.prepare(picture, turn.loaded.network.images)
        scale = family.input_scale(*picture.size)
        return inputs, size, _Camera(picture.size, scale, picture.focal_length)


@dataclass(frozen=True)
class _Camera:
    """The camera of a photo."""

    #: width and height of the upright photo, pixels
    size: Size
    #: pixels of the network's input for each pixel of the photo
    scale: float
    #: in pixels of the photo; None: not known
    focal_length: float | None

    def field_of_view(self) -> float | None:
        """Degrees from the left edge of the upright photo to the right one."""
        if self.focal_length is None:
            return None
        return math.degrees(2 * math.atan(self.size[0] / 2 / self.focal_length))


def _known(
    camera: _Camera, family: DepthFamily, output: FloatArray, options: DepthOptions
) -> _Camera:
    """A camera with the focal length that counts: the client's, else the model's estimate, else
    that of the photo's EXIF data, because these say nothing of how the photo was cropped since.
    """
    focal_length = options.focal_length or None
    if focal_length is None:
        estimate = family.focal_length(output)
        if estimate is not None:
            focal_length = estimate / camera.scale
        elif options.in_metres:
            focal_length = camera.focal_length
    return replace(camera, focal_length=focal_length)


def _numbers(
    family: DepthFamily, output: FloatArray, options: DepthOptions, camera: _Camera
) -> FloatArray:
    """The map in the unit that the options ask for."""
    if not options.in_metres:
        return family.disparity(output)
    known = camera.focal_length
    return family.metres(output, None if known is None else known * camera.scale)


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
