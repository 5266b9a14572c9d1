# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Image processing on a GPU.

The results equal those of ``canvas``, except for rare differences of one level of 255.
The functions take tensors on any torch device, so that tests can compare them on a CPU.
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
from app.pictures.resampling import Colour, Interpolation
from app.rendering.maps import is_constant

if TYPE_CHECKING:
    from torch import Tensor

    from app.host.cuda import Cuda

log = logging.getLogger("twinlens.engines")

# Larger pictures and maps (in pixels) are processed on the CPU, so that one request cannot take the
# GPU memory that networks need: up to 24 bytes per pixel of a picture, up to 9 per pixel of a map.
# JPEGs of all sizes stay below the limit, because they are decoded at reduced size.
LARGEST_PICTURE = 8_000_000
_LARGEST_MAP = 32_000_000

Result = TypeVar("Result")


class _NotHere(Exception):
    """The CPU has to do the work: it has too many pixels, or needs a filter that torch lacks."""


@dataclass(frozen=True)
class DeviceCanvas:
    """A picture on a device: [3, height, width] float32, whole numbers from 0 to 255."""

    pixels: Tensor

    @property
    def size(self) -> tuple[int, int]:
        return self.pixels.shape[2], self.pixels.shape[1]

    def crop(self, box: Box) -> DeviceCanvas:
        left, top, right, bottom = box
        return DeviceCanvas(self.pixels[:, top:bottom, left:right])

    def resize(
        self, size: tuple[int, int], interpolation: Interpolation = "bicubic"
    ) -> DeviceCanvas:
        _check(size[0] * size[1], LARGEST_PICTURE)
        if interpolation == "lanczos":
            raise _NotHere
        return DeviceCanvas(resized(self.pixels, *size, interpolation))

    def pad(self, size: tuple[int, int], colour: Colour) -> DeviceCanvas:
        import torch

        width, height = self.size
        left, top = (size[0] - width) // 2, (size[1] - height) // 2
        border = torch.tensor(colour, dtype=torch.float32, device=self.pixels.device)
        whole = border[:, None, None].repeat(1, size[1], size[0])
        whole[:, top : top + height, left : left + width] = self.pixels
        return DeviceCanvas(whole)


def resized(pixels: Tensor, width: int, height: int, interpolation: str = "bicubic") -> Tensor:
    """Resize [3, h, w] to [3, height, width] with antialiasing, bicubic or bilinear.

    Input and output are float32 with whole numbers from 0 to 255. Width and height are resized one
    after the other, each with rounding. Pillow does the same, and two one-dimensional filters cost
    less than a two-dimensional one.
    """
    import torch.nn.functional as F

    for size in ((pixels.shape[1], width), (height, width)):
        if pixels.shape[1:] != size:
            (pixels,) = F.interpolate(pixels[None], size, mode=interpolation, antialias=True)
            pixels = pixels.add_(0.5).floor_().clamp_(0, 255)  # rounds halves up, like Pillow
    return pixels


def normalised(pixels: Tensor, mean: FloatArray, deviation: FloatArray) -> Tensor:
    """Do what ``canvas.normalised`` does, for [3, h, w] float32 from 0 to 255."""
    import torch

    scale, offset = (
        torch.from_numpy(each.astype(np.float32)).to(pixels.device)[:, None, None]
        for each in (1 / (255 * deviation), mean / deviation)
    )
    return pixels * scale - offset


def spread(disparity: Tensor, width: int, height: int) -> Tensor:
    """Do what ``canvas.spread`` does, from [h, w] finite float32 to [height, width] uint8."""
    import torch
    import torch.nn.functional as F

    # The minimum is subtracted first: otherwise rounding errors of torch's kernels on a constant
    # map would exceed the tolerance of is_constant.
    lowest = disparity.amin()
    raised = (disparity - lowest)[None, None]
    full: Tensor = F.interpolate(raised, (height, width), mode="bicubic")[0, 0]
    base, low, high = torch.stack((lowest, *torch.aminmax(full))).tolist()
    if is_constant(base + low, base + high):
        return torch.full_like(full, CONSTANT_LEVEL, dtype=torch.uint8)
    # This works in place, because a copy of 32 megapixels would take 128 MB.
    levels = full.sub_(low).mul_(255 / (high - low)).round_().clamp_(0, 255)
    return levels.to(torch.uint8)


class DeviceImages(HostImages):
    """Image processing on a device; falls back to the CPU for large pictures and after errors."""

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
        """Run ``work``; None if the CPU has to do it. Raises RuntimeError if the device is lost."""
        import torch

        try:
            with torch.inference_mode(), self._device.stream():
                return work()
        except _NotHere:
            return None
        except RuntimeError as error:
            if fault(error) == "lost":
                raise
            log.warning("image processing failed on the device; the CPU does it", exc_info=error)
            return None


def _check(pixels: int, most: int) -> None:
    if pixels > most:
        raise _NotHere
