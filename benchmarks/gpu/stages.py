# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Compares the image work before and after the network, done on the device and on the host.

``python -m benchmarks.gpu.stages --cache CACHE --device cuda`` prints, for each way of each stage,
its time and how its result differs from that of the stage's first way: the mean, the 99.9th
percentile and the largest difference, in levels of 255. A way is timed until its result can be used
where it is needed, which is the device or the host. Ways on the host use one thread per photo,
although a service has many threads.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.io import ImageReadMode, decode_jpeg  # type: ignore[import-untyped]

from app.engines.base import FloatArray
from app.models.depth_anything import MEAN, STD
from app.pictures import device_images
from app.pictures.decode import DecodeSize, Picture, decode, in_full
from benchmarks import models
from benchmarks.gpu.timing import (
    NO_CUDA,
    Clock,
    arguments,
    check_device,
    emit,
    failing_into,
    on_host,
)
from benchmarks.gpu.ways import load
from benchmarks.inputs import MEGAPIXELS, Photos
from benchmarks.models import DepthModel
from benchmarks.results import Row

MODEL = "small"
_SIZE, _QUICK_SIZE = "12 MP 4:3", "0.3 MP"
_TOGETHER = 8  # JPEG files that nvJPEG decodes in one call
_BUDGET = 10**9
_INPUT = (4, 3, 518, 686)
_LEVELS = 255 * STD[:, None, None]  # levels of the picture in one unit of a network's input

#: Returns its result, on the host or on the device, once the device has finished.
Way = Callable[[], NDArray[Any] | Tensor]


def compared(
    clock: Clock, stage: str, ways: dict[str, Way], scale: float | FloatArray = 1.0
) -> Iterator[Row]:
    """Yield a row for each way; ``scale`` turns results into levels of 255."""
    expected: NDArray[Any] | None = None
    for name, way in ways.items():
        row: Row = {"stage": stage, "way": name}
        with failing_into(row):
            got = on_host(way()).astype(np.float32) * scale
            row["ms"] = 1000 * clock.seconds_of(way)
            if expected is None:
                expected = got
            elif got.shape == expected.shape:
                off = np.abs(got - expected)
                row |= {
                    "mean": float(off.mean()),
                    "99.9 %": float(np.percentile(off, 99.9)),
                    "largest": float(off.max()),
                }
        yield row


@dataclass(frozen=True)
class Ours:
    """Holds the same model twice: with all image work on the CPU, and as the service runs it."""

    on_cpu: DepthModel
    on_device: DepthModel


def enlarging(
    clock: Clock, ours: Ours, disparity: FloatArray, size: tuple[int, int]
) -> Iterator[Row]:
    """Compare ways to turn a map [h, w] float32 into [height, width] uint8."""
    there = torch.from_numpy(disparity).to(clock.device)

    def kernels() -> Tensor:
        levels = device_images.spread(there, *size)
        clock.wait()
        return levels

    ways: dict[str, Way] = {
        "OpenCV": partial(ours.on_cpu.finish, disparity, *size),
        "the service": partial(ours.on_device.finish, disparity, *size),
        "torch, without copies": kernels,
    }
    return compared(clock, "enlarge, spread, quantise", ways)


def shrinking(clock: Clock, ours: Ours, picture: Picture) -> Iterator[Row]:
    """Compare ways to turn a decoded picture into the network's input [3, h, w] float32."""
    size = ours.on_cpu.input_size(*picture.size)
    there = torch.from_numpy(np.array(picture.image)).to(clock.device).permute(2, 0, 1).float()

    def kernels() -> Tensor:
        inputs = device_images.normalised(device_images.resized(there, *size), MEAN, STD)
        clock.wait()
        return inputs

    ways: dict[str, Way] = {
        "Pillow": partial(ours.on_cpu.prepare, picture),
        "the service": partial(ours.on_device.prepare, picture),
        "torch, without copies": kernels,
    }
    return compared(clock, "prepare", ways, scale=_LEVELS)


def decoding(clock: Clock, ours: Ours, photo: bytes) -> Iterator[Row]:
    """Compare ways to turn a JPEG file into pixels [3, height, width] uint8."""
    # The bytes are copied, because torch expects writable memory.
    file = torch.frombuffer(bytearray(photo), dtype=torch.uint8)

    def whole() -> NDArray[Any]:
        return np.asarray(decode(io.BytesIO(photo), _BUDGET).image).transpose(2, 0, 1)

    def reduced() -> NDArray[Any]:
        return np.asarray(decode(io.BytesIO(photo), _BUDGET, ours.on_cpu.decode_size).image)

    def on_device(count: int) -> Tensor:
        first: Tensor = decode_jpeg([file] * count, ImageReadMode.RGB, device=clock.device)[0]
        clock.wait()
        return first

    ways: dict[str, Way] = {
        "Pillow, full": whole,
        "Pillow, reduced": reduced,
        "nvJPEG": partial(on_device, 1),
        f"nvJPEG, {_TOGETHER} at once": partial(on_device, _TOGETHER),
    }
    for row in compared(clock, "decode", ways):
        if str(row["way"]).endswith("at once") and isinstance(row["ms"], float):
            row["ms"] /= _TOGETHER
        yield row


def preparing(clock: Clock, ours: Ours, photo: bytes) -> Iterator[Row]:
    """Compare ways to turn a JPEG file into the network's input [3, h, w] float32 on the device."""
    file = torch.frombuffer(bytearray(photo), dtype=torch.uint8)

    def decoded_by_host(model: DepthModel, decode_size: DecodeSize) -> Tensor:
        picture = decode(io.BytesIO(photo), _BUDGET, decode_size)
        inputs = torch.from_numpy(model.prepare(picture)).to(clock.device)
        clock.wait()
        return inputs

    def decoded_by_device() -> Tensor:
        pixels = decode_jpeg(file, ImageReadMode.RGB, device=clock.device)
        size = ours.on_device.input_size(pixels.shape[2], pixels.shape[1])
        small = device_images.resized(pixels.float(), *size)
        inputs = device_images.normalised(small, MEAN, STD)
        clock.wait()
        return inputs

    ways: dict[str, Way] = {
        "decoded in full, Pillow": partial(decoded_by_host, ours.on_cpu, in_full),
        "reduced, Pillow": partial(decoded_by_host, ours.on_cpu, ours.on_cpu.decode_size),
        "reduced, the service": partial(
            decoded_by_host, ours.on_device, ours.on_device.decode_size
        ),
        "nvJPEG, resized on the device": decoded_by_device,
    }
    return compared(clock, "decode and prepare", ways, scale=_LEVELS)


def copies(clock: Clock, size: tuple[int, int]) -> Iterator[Row]:
    """Compare ways to copy a batch to the device, and a map of this size to the host."""
    batch = torch.randn(_INPUT)
    levels = torch.randint(256, size[::-1], dtype=torch.uint8, device=clock.device)
    there = torch.empty_like(batch, device=clock.device)
    for stage, tensor, ways in (
        ("a batch to the device", batch, _there(clock, batch, there)),
        ("a map to the host", levels, _back(clock, levels)),
    ):
        for row in compared(clock, stage, ways):
            if isinstance(row["ms"], float):
                row["GB/s"] = tensor.nbytes / row["ms"] / 1e6
            yield row


def _there(clock: Clock, batch: Tensor, there: Tensor) -> dict[str, Way]:
    pinned = torch.empty_like(batch, pin_memory=True)

    def copied(prepare: Callable[[], Tensor]) -> Tensor:
        there.copy_(prepare(), non_blocking=True)
        clock.wait()
        return there

    return {
        "pageable": lambda: copied(lambda: batch),
        "pinned anew": lambda: copied(batch.pin_memory),
        "through memory that is pinned (the service)": lambda: copied(lambda: pinned.copy_(batch)),
        "from memory that is pinned": lambda: copied(lambda: pinned),
    }


def _back(clock: Clock, levels: Tensor) -> dict[str, Way]:
    landing = torch.empty(levels.shape, dtype=levels.dtype, pin_memory=True)

    def pinned() -> Tensor:
        landing.copy_(levels, non_blocking=True)
        clock.wait()
        return landing

    return {"pageable": levels.cpu, "to memory that is pinned (the service)": pinned}


def main() -> None:
    """Entry point."""
    parser = arguments("What stands around the network.")
    parser.add_argument("--cache", type=Path, required=True, help="made by benchmarks.checkpoints")
    options = parser.parse_args()
    check_device(options.device)
    clock = Clock(options.device, options.quick)
    size = MEGAPIXELS[_QUICK_SIZE if options.quick else _SIZE]
    photo = Photos(size).next()
    on_device = load(options.cache, MODEL, "fp32", str(clock.device))
    on_cpu = models.load(options.cache, MODEL)
    assert isinstance(on_device, DepthModel)
    assert isinstance(on_cpu, DepthModel)
    ours = Ours(on_cpu, on_device)
    picture = decode(io.BytesIO(photo), _BUDGET, on_cpu.decode_size)
    disparity = on_cpu.infer(on_cpu.prepare(picture)[None])[0]
    with torch.inference_mode():
        for stage in (
            enlarging(clock, ours, disparity, size),
            shrinking(clock, ours, picture),
            decoding(clock, ours, photo),
            preparing(clock, ours, photo),
        ):
            for row in stage:
                emit("stages", row)
        if not clock.is_cuda:
            emit("copies", {"stage": "all", "ms": NO_CUDA})
            return
        for row in copies(clock, size):
            emit("copies", row)


if __name__ == "__main__":
    main()
