# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The depth task: from the bytes of a photo to the file of its depth map.

Path of a request: wait for a turn, decode, prepare, infer, render, encode.
"""

from __future__ import annotations

from typing import BinaryIO

from app.decoding.job import Pixels
from app.engines.base import FloatArray
from app.lending.loaded import LoadedNetwork
from app.lending.registry import networks_of
from app.models.depth_family import DepthFamily
from app.pictures.canvas import Levels
from app.rendering import formats, maps, stereo
from app.rendering.options import EXACT, DepthOptions, Size
from app.tasks.results import DepthMap, Timings
from app.tasks.turns import IsGone, Turn, Turns
from config.models import ModelSpec


class DepthTask:
    """Computes depth maps.

    It runs in the thread of the request, which waits while other processes decode the photo and a
    device thread runs the inference.
    """

    def __init__(self, turns: Turns, max_pixels: int) -> None:
        self._turns = turns
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
            # The turn ends with the inference, so that the next request can use the device.
            with turns.wait(networks_of(spec)[0], 1, is_gone, timings) as turn:
                inputs, photo_size, size = self._prepare(turn, photo, options)
                loaded, output = turn.loaded, turn.infer(inputs[None])[0]
            disparity = loaded.family.disparity(loaded.family.crop(output, photo_size))
            check_cancelled = turns.deadline_check(is_gone)
            view: Pixels | None = None
            if options.is_pair:
                # A stereo pair shows the photo itself, which was dropped before the inference.
                view = turns.decode_again(photo, size, check_cancelled, timings)
            with turns.core(check_cancelled):
                with timings.stage("finish"), turns.device_faults():
                    pixels = _render(loaded, disparity, view, size, options)
                del view  # frees a large picture before the file is encoded
                with timings.stage("encode"):
                    file = formats.encode(pixels, options)
        low, high = float(disparity.min()), float(disparity.max())
        return DepthMap(loaded.weights, loaded.provenance(), timings, file, low, high)

    def _prepare(
        self, turn: Turn, photo: BinaryIO, options: DepthOptions
    ) -> tuple[FloatArray, Size, Size]:
        """The network's input for a photo, the size of the photo, and the size of the answer.

        The decoded photo is freed when this returns: it is large, and the request may wait long for
        the device.
        """
        family: DepthFamily = turn.loaded.family
        picture = turn.decode(photo, family.decode_size, family.steps)
        size = options.target(picture.size, family.input_size(*picture.size))
        formats.check(options, size, self._max_pixels)
        with turn.preparing():
            return family.prepare(picture, turn.loaded.network.images), picture.size, size


def _render(
    loaded: LoadedNetwork,
    disparity: FloatArray,
    view: Pixels | None,
    size: Size,
    options: DepthOptions,
) -> formats.Pixels:
    """Pixels of the answer for ``formats.encode``: a map, or a stereo pair of the view."""
    if view is not None:
        return stereo.pair(view.image, disparity, options.divergence)
    if isinstance(options.size, int):
        disparity = maps.shrunk(disparity, size)
    if options.format in EXACT:
        return maps.exact(disparity, size, options)
    maps.check_finite(disparity)
    levels: Levels = loaded.network.images.spread(disparity, *size)
    return maps.shown(levels, options)
