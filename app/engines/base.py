# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""What every engine does with a network: hold it, bring it to a device, run it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from app.pictures import canvas as host_images
from app.pictures.arrays import normalised
from app.pictures.canvas import Canvas, HostCanvas, Levels, Pixels
from config.values import EngineName, Precision

FloatArray = NDArray[np.float32]
#: Pictures, or the numbers of tokens.
InputArray = FloatArray | NDArray[np.int64]


class LoadError(Exception):
    """A checkpoint that cannot serve; the message says why, without paths of the host."""


class DoesNotFit(LoadError):
    """Not enough free memory; the message names what is needed and what is free."""


class Unsupported(LoadError):
    """The checkpoint asks for what its family does not do; the message names it."""


class EngineUnavailable(LoadError):
    """The checkpoint may be fine, but this engine cannot run it here."""


class Network(ABC):
    """One network: first in host memory, where forked processes share it, then on one device."""

    #: which engine runs it
    engine: ClassVar[EngineName]

    def __init__(self) -> None:
        #: of the arithmetic; final once it is on its device
        self.precision: Precision = "fp32"
        #: where it is, a name as in ``devices.Device.type``
        self.device = "cpu"

    def suits(self, device: str) -> bool:  # noqa: ARG002 - for engines that prepare for one
        """Whether this host copy is right for ``device``, which is one of its engine's."""
        return True

    @abstractmethod
    def to_device(self, device: str) -> None:
        """Make it ready to run on ``device``. Only after the fork.

        Raises:
            RuntimeError, MemoryError: the device refuses it.
        """

    def settle(self) -> None:  # noqa: B027 - most have nothing to give back
        """When nothing runs: give back what is not needed until it runs again."""

    @abstractmethod
    def infer(self, batch: InputArray) -> FloatArray:
        """Run it: pictures [n, 3, h, w] float32, or texts [n, tokens] int64, to [n, ...] float32.

        Safe to call from several threads.
        """

    def warm_up(self, batch: InputArray) -> None:
        """Run it until a batch of this shape is as fast as it gets."""
        self.infer(batch)

    # -- image work that a device may do better than the CPU, which does it here -----------------

    def works_on(self, pixels: int) -> bool:  # noqa: ARG002 - of a device
        """Whether the device itself crops and resizes a picture of so many pixels, and so wants it
        as it was decoded.
        """
        return False

    def prepared(
        self,
        image: Pixels,
        steps: Callable[[Canvas], Canvas],
        mean: FloatArray,
        deviation: FloatArray,
    ) -> FloatArray:
        """Crop and resize an RGB picture, 8 bits a channel, then bring each channel to 0..1, minus
        its mean, over its standard deviation: [3, h, w] float32. Safe to call from several threads.

        Raises:
            RuntimeError: the device is lost.
        """
        canvas = steps(HostCanvas.of(image))
        assert isinstance(canvas, HostCanvas)
        return normalised(canvas.image, mean, deviation)

    def spread(self, disparity: FloatArray, width: int, height: int) -> Levels:
        """Enlarge a map [h, w] of finite numbers and spread it over 0..255: [height, width] uint8;
        a constant map is all 128. Safe to call from several threads.

        Raises:
            RuntimeError: the device is lost.
        """
        return host_images.spread(disparity, width, height)
