# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""A photo as the input of a depth model, and what is known of the camera that took it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import BinaryIO

from app.engines.base import FloatArray
from app.models.depth_family import DepthFamily
from app.rendering.options import Size
from app.tasks.turns import Turn


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
