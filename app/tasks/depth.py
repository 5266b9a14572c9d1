# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Depth: a photo to a map, from its bytes to the file that the client gets."""

from __future__ import annotations

from typing import BinaryIO

from app.decoding.job import Pixels
from app.engines.base import FloatArray
from app.lending.loaded import LoadedNetwork
from app.lending.registry import networks_of
from app.models.base import DepthFamily
from app.pictures.canvas import Levels
from app.rendering import formats, maps, stereo
from app.rendering.options import EXACT, DepthOptions, Size
from app.tasks.results import DepthMap, Timings
from app.tasks.turns import IsGone, Turn, Turns
from config.models import ModelSpec


class DepthTask:
    """Runs in the caller's thread; files are decoded by processes of their own, and the inference
    runs on a device thread.
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
        """The depth map of a photo.

        Args:
            photo: a file in one of ``decode.FORMATS``; it is closed in the end.
            spec: a depth model.
            options: what the answer is to be.
            is_gone: tells whether the client has hung up.

        Raises:
            TwinlensError: whatever is wrong with the photo or the service.
        """
        timings, turns = Timings(), self._turns
        with photo:
            with turns.wait(networks_of(spec)[0], 1, is_gone, timings) as turn:
                inputs, size = self._prepare(turn, photo, options)
                loaded, output = turn.loaded, turn.infer(inputs[None])[0]
            disparity = loaded.family.disparity(output)
            check_cancelled = turns.patience(is_gone)
            view: Pixels | None = None
            pixels: formats.Pixels
            if options.is_pair:
                view = turns.decode_again(photo, size, check_cancelled, timings)
            with turns.core(check_cancelled):
                with timings.stage("finish"), turns.device_faults():
                    if view is not None:
                        pixels = stereo.pair(view.image, disparity, options.divergence)
                    else:
                        pixels = _draw(loaded, disparity, size, options)
                del view  # it may be large
                with timings.stage("encode"):
                    file = formats.encode(pixels, options)
        low, high = float(disparity.min()), float(disparity.max())
        return DepthMap(loaded.weights, loaded.provenance(), timings, file, low, high)

    def _prepare(
        self, turn: Turn, photo: BinaryIO, options: DepthOptions
    ) -> tuple[FloatArray, Size]:
        """The network's input for a photo, and the size of the answer.

        The photo itself is dropped here: it is large, and the device may be busy for long.
        """
        family: DepthFamily = turn.loaded.family
        picture = turn.decode(photo, family.decode_size, family.steps)
        size = options.target(picture.size, family.input_size(*picture.size))
        formats.check(options, size, self._max_pixels)
        with turn.preparing():
            return family.prepare(picture, turn.loaded.network.images), size


def _draw(
    loaded: LoadedNetwork, disparity: FloatArray, size: Size, options: DepthOptions
) -> formats.Pixels:
    """The map as it was asked for, see ``formats.encode``."""
    if isinstance(options.size, int):
        disparity = maps.shrunk(disparity, size)
    if options.format in EXACT:
        return maps.exact(disparity, size, options)
    maps.check_finite(disparity)
    levels: Levels = loaded.network.images.spread(disparity, *size)
    return maps.shown(levels, options)
