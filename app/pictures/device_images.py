# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Images on an accelerator, with the results of ``canvas`` but for a rare level of 255.

The functions take tensors of any device of torch, so that tests compare them on a CPU.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from app.host.faults import fault
from app.pictures.canvas import (
    CONSTANT_LEVEL,
    Box,
    FloatArray,
    HostImages,
    Levels,
    Pixels,
    Steps,
)
from app.rendering.maps import is_constant

if TYPE_CHECKING:
    from torch import Tensor

    from app.host.cuda import Cuda

log = logging.getLogger("twinlens.engines")

# Pixels; beyond them the CPU works, so that no client takes the memory that networks need: a
# picture needs up to 24 bytes a pixel here, a map up to 9. A JPEG of any size is decoded smaller.
LARGEST_PICTURE = 8_000_000
_LARGEST_MAP = 32_000_000

Result = TypeVar("Result")


class _TooLarge(Exception):
    """More pixels than the device is asked to hold."""


@dataclass(frozen=True)
class DeviceCanvas:
    """Pixels [3, height, width] float32, whole numbers from 0 to 255."""

    pixels: Tensor

    @property
    def size(self) -> tuple[int, int]:
        return self.pixels.shape[2], self.pixels.shape[1]

    def crop(self, box: Box) -> DeviceCanvas:
        left, top, right, bottom = box
        return DeviceCanvas(self.pixels[:, top:bottom, left:right])

    def resize(self, size: tuple[int, int]) -> DeviceCanvas:
        _check(size[0] * size[1], LARGEST_PICTURE)
        return DeviceCanvas(resized(self.pixels, *size))


def resized(pixels: Tensor, width: int, height: int) -> Tensor:
    """Bicubic with antialias, [3, h, w] to [3, height, width], both whole numbers 0..255, float32.

    First along the rows, then along the columns, rounded after each: so does Pillow, and two small
    filters cost less than one large one.
    """
    import torch.nn.functional as F

    for size in ((pixels.shape[1], width), (height, width)):
        if pixels.shape[1:] != size:
            (pixels,) = F.interpolate(pixels[None], size, mode="bicubic", antialias=True)
            pixels = pixels.add_(0.5).floor_().clamp_(0, 255)  # halves go up, as with Pillow
    return pixels


def normalised(pixels: Tensor, mean: FloatArray, deviation: FloatArray) -> Tensor:
    """As ``app.pictures.arrays.normalised``, for [3, h, w] float32, 0..255."""
    import torch

    scale, offset = (
        torch.from_numpy(each.astype(np.float32)).to(pixels.device)[:, None, None]
        for each in (1 / (255 * deviation), mean / deviation)
    )
    return pixels * scale - offset


def spread(disparity: Tensor, width: int, height: int) -> Tensor:
    """As ``canvas.spread``: [h, w] float32, finite, to [height, width] uint8."""
    import torch
    import torch.nn.functional as F

    # From 0 up, because these kernels add to a constant what is_constant would not forgive.
    lowest = disparity.amin()
    raised = (disparity - lowest)[None, None]
    full: Tensor = F.interpolate(raised, (height, width), mode="bicubic")[0, 0]
    base, low, high = torch.stack((lowest, *torch.aminmax(full))).tolist()
    if is_constant(base + low, base + high):
        return torch.full_like(full, CONSTANT_LEVEL, dtype=torch.uint8)
    # In place: at 32 megapixels each copy would be 128 MB.
    levels = full.sub_(low).mul_(255 / (high - low)).round_().clamp_(0, 255)
    return levels.to(torch.uint8)


class DeviceImages(HostImages):
    """On a device where it can; what is too large or fails there is done on the CPU."""

    def __init__(self, device: Cuda) -> None:
        self._device = device

    def works_on(self, pixels: int) -> bool:
        """See ``ImageWork``."""
        return pixels <= LARGEST_PICTURE

    def prepared(
        self, image: Pixels, steps: Steps, mean: FloatArray, deviation: FloatArray
    ) -> FloatArray:
        """See ``ImageWork``."""
        done = self._attempt(partial(self._prepared, image, steps, mean, deviation))
        return super().prepared(image, steps, mean, deviation) if done is None else done

    def spread(self, disparity: FloatArray, width: int, height: int) -> Levels:
        """See ``ImageWork``."""
        done = self._attempt(partial(self._spread, disparity, width, height))
        return super().spread(disparity, width, height) if done is None else done

    def _prepared(
        self, image: Pixels, steps: Steps, mean: FloatArray, deviation: FloatArray
    ) -> FloatArray:
        array = np.asarray(image)
        _check(array.shape[0] * array.shape[1], LARGEST_PICTURE)
        pixels = self._device.upload(array).permute(2, 0, 1).float()
        canvas = steps(DeviceCanvas(pixels))
        assert isinstance(canvas, DeviceCanvas)
        inputs: FloatArray = self._device.download(normalised(canvas.pixels, mean, deviation))
        return inputs

    def _spread(self, disparity: FloatArray, width: int, height: int) -> Levels:
        _check(width * height, _LARGEST_MAP)
        levels: Levels = self._device.download(
            spread(self._device.upload(disparity), width, height)
        )
        return levels

    def _attempt(self, work: Callable[[], Result]) -> Result | None:
        """The result, or None where the CPU has to do it. Raises RuntimeError: device lost."""
        import torch

        try:
            with torch.inference_mode(), self._device.stream():
                return work()
        except _TooLarge:
            return None
        except RuntimeError as error:
            if fault(error) == "lost":
                raise
            log.warning("the device could not do an image's work; the CPU does", exc_info=error)
            return None


def _check(pixels: int, most: int) -> None:
    if pixels > most:
        raise _TooLarge
