# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Base class of families of depth models."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar

from app.engines.base import FloatArray
from app.errors import TooLarge
from app.models.base import Family, Picture
from app.pictures.canvas import ImageWork, Steps, unchanged
from app.pictures.resampling import Interpolation

#: the longest side of a photo as a multiple of its shortest
MAX_ASPECT = 20


class DepthFamily(Family):
    """A family of depth models: photo to disparity map."""

    #: A photo is decoded to at least this multiple of the network's input width and height, so that
    #: the resize to the input's size starts from enough pixels.
    OVERSAMPLED: ClassVar[float] = 1.4
    #: how a photo is resized to the network's input
    interpolation: Interpolation = "bicubic"
    #: whether the model estimates metres, so that ``metres`` can be called
    is_metric: bool = False

    def facts(self) -> dict[str, object]:
        """See the base class."""
        return {"metric": self.is_metric}

    @abstractmethod
    def input_size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of the network's input for an upright photo, pixels.

        Raises:
            TooLarge: the network does not support this aspect ratio.
        """

    def input_scale(self, width: int, height: int) -> float:
        """Pixels of the network's input for each pixel of a photo, to convert focal lengths."""
        return self.input_size(width, height)[0] / width

    def decode_size(self, width: int, height: int) -> tuple[int, int]:
        """The smallest size to which a photo of this size may be decoded for ``prepare``."""
        columns, rows = self.input_size(width, height)
        return math.ceil(columns * self.OVERSAMPLED), math.ceil(rows * self.OVERSAMPLED)

    def steps(self, size: tuple[int, int]) -> Steps:
        """The resize that ``prepare`` starts with, for a photo of this size. Raises TooLarge."""
        target = self.input_size(*size)
        return lambda canvas: canvas.resize(target, self.interpolation)

    def prepare(self, picture: Picture, work: ImageWork) -> FloatArray:
        """The network's input [3, rows, columns] float32 for an upright photo."""
        steps = unchanged if picture.done else self.steps(picture.size)
        return work.prepared(picture.image, steps, self.mean, self.deviation)

    def crop(self, output: FloatArray, size: tuple[int, int]) -> FloatArray:  # noqa: ARG002
        """The part of the network's output that shows the photo; by default all of it.

        Args:
            output: see ``disparity``.
            size: width and height of the upright photo, pixels.
        """
        return output

    def disparity(self, output: FloatArray) -> FloatArray:
        """The network's output for one photo, as disparity [h, w] float32: larger is nearer.

        Args:
            output: from ``crop``; [h, w] float32, or [channels, h, w] if the network gives more
                than one map.
        """
        return output

    def metres(self, output: FloatArray, focal_length: float | None) -> FloatArray:
        """The network's output for one photo, as distance in metres [h, w] float32, finite.

        Args:
            output: see ``disparity``.
            focal_length: the camera's focal length in pixels of the network's input. It comes from
                the client, or else from ``focal_length``, or else from the photo's EXIF data; None
                if none of them states it.

        Raises:
            BadRequest: the model needs the focal length, but it is not known.
        """
        raise NotImplementedError(output, focal_length)

    def focal_length(self, output: FloatArray) -> float | None:  # noqa: ARG002
        """The focal length that the network estimates, in pixels of its input; None if it has none.

        The estimate is used unless the client states the focal length.
        """
        return None


def check_aspect(width: int, height: int) -> None:
    """Raises TooLarge if one side is more than MAX_ASPECT times the other."""
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise TooLarge(
            f"The image is {width}x{height}; "
            f"depth needs an aspect ratio of at most {MAX_ASPECT}:1, so crop it first",
            code="image_too_large",
        )
