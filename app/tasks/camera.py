# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""A photo through a depth model, and what is known of the camera that took it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import BinaryIO

from app.engines.base import FloatArray
from app.lending.loaded import LoadedNetwork
from app.lending.registry import networks_of
from app.models.depth_family import DepthFamily
from app.rendering.options import Size
from app.tasks.results import Timings
from app.tasks.turns import IsGone, Turn, Turns
from config.models import ModelSpec


@dataclass(frozen=True)
class Camera:
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

    def with_best(
        self, given: float | None, family: DepthFamily, output: FloatArray, *, exif: bool
    ) -> Camera:
        """A camera with the focal length that counts: the client's, else the model's estimate, else
        that of the photo's EXIF data, because these say nothing of how the photo was cropped since.

        Args:
            given: the client's focal length in pixels of the photo, if it sent one.
            family: of the model.
            output: of the network, from ``family.crop``.
            exif: whether the EXIF data are used.
        """
        if given is not None:
            return replace(self, focal_length=given)
        estimate = family.focal_length(output)
        if estimate is not None:
            return replace(self, focal_length=estimate / self.scale)
        return self if exif else replace(self, focal_length=None)

    def input_focal_length(self) -> float | None:
        """The focal length in pixels of the network's input, as ``DepthFamily.metres`` takes it."""
        return None if self.focal_length is None else self.focal_length * self.scale


@dataclass(frozen=True)
class Estimate:
    """What a depth model has made of a photo."""

    loaded: LoadedNetwork
    #: the network's output, from ``family.crop``
    output: FloatArray
    #: width and height of the answer
    size: Size
    #: as the photo tells it
    camera: Camera

    @property
    def family(self) -> DepthFamily:
        """The model's family."""
        family: DepthFamily = self.loaded.family
        return family


def estimate(
    turns: Turns,
    photo: BinaryIO,
    spec: ModelSpec,
    answer_size: Callable[[Size, Size], Size],
    is_gone: IsGone,
    timings: Timings,
) -> Estimate:
    """Wait for a turn, decode a photo and run a depth model on it.

    Args:
        turns: of the service.
        photo: the file.
        spec: the model.
        answer_size: see ``prepare``.
        is_gone: tells whether the client has hung up.
        timings: receives the duration of each stage.

    Raises:
        TwinlensError: the photo is unusable, or the service cannot answer now.
    """
    # The turn ends with the inference, so that the next request can use the device.
    with turns.wait(networks_of(spec)[0], 1, is_gone, timings) as turn:
        loaded = turn.loaded
        inputs, size, camera = prepare(turn, photo, answer_size)
        output = turn.infer(inputs[None])[0]
    return Estimate(loaded, loaded.family.crop(output, camera.size), size, camera)


def prepare(
    turn: Turn, photo: BinaryIO, answer_size: Callable[[Size, Size], Size]
) -> tuple[FloatArray, Size, Camera]:
    """The network's input for a photo, the size of the answer, and what the photo says of its
    camera.

    The decoded photo is freed when this returns: it is large, and the request may wait long for
    the device.

    Args:
        turn: of the request.
        photo: the file.
        answer_size: from the sizes of the photo and of the network's input, the answer's; it may
            raise an error, so that nothing is computed for an answer that cannot be given.
    """
    family: DepthFamily = turn.loaded.family
    picture = turn.decode(photo, family.decode_size, family.steps)
    size = answer_size(picture.size, family.input_size(*picture.size))
    with turn.preparing():
        inputs = family.prepare(picture, turn.loaded.network.images)
    scale = family.input_scale(*picture.size)
    return inputs, size, Camera(picture.size, scale, picture.focal_length)
