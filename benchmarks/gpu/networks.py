# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Measures how fast and how exact a network is on the device, for each precision, batch and way.

``python -m benchmarks.gpu.networks --cache CACHE --model small --device cuda --ceilings JSON``
takes the ceilings in TFLOP/s by precision. A "way" is how the network is run, see
``benchmarks.gpu.ways``. The outputs of each way are compared with those of float32 on the CPU.
Vectors are compared by the lowest cosine. Maps are compared at the network's own resolution, by the
highest mean and the highest 99.9th percentile of the difference in levels of 255.
"""

from __future__ import annotations

import gc
import io
import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from app.engines.base import FloatArray
from app.engines.torch.runner import TorchNetwork
from app.pictures.decode import decode
from benchmarks import models
from benchmarks.accuracy import differences
from benchmarks.ceiling import flop
from benchmarks.contenders import FAMILIES as FAMILY_OF
from benchmarks.gpu.timing import (
    NO_CUDA,
    Clock,
    arguments,
    check_device,
    emit,
    failing_into,
    on_host,
)
from benchmarks.gpu.ways import CUDA_ONLY, WAYS, Work, load
from benchmarks.inputs import DISTINCT, MEGAPIXELS, SIZES, Photos
from benchmarks.models import DepthModel, ImageModel, Model
from benchmarks.results import Row
from config.families import Task
from config.values import FloatName

#: The service's default on GPUs comes first, so that even a run that is cut short has measured it.
PRECISIONS: tuple[FloatName, ...] = ("fp16", "bf16", "fp32")
BATCHES: dict[Task, tuple[int, ...]] = {"depth": (1, 2, 4), "embedding": (1, 8, 32)}
_QUICK_BATCHES: dict[Task, tuple[int, ...]] = {"depth": (1,), "embedding": (2,)}
TABLES: dict[Task, str] = {"depth": "maps", "embedding": "vectors"}
#: sizes of photos; for depth all are 4:3, so that the network's input is [3, 518, 686]
_SIZES: dict[Task, tuple[str, ...]] = {
    "depth": ("12 MP 4:3",),
    "embedding": ("poster 1000x1500", "poster 500x750"),
}
_QUICK_SIZES: dict[Task, tuple[str, ...]] = {"depth": ("0.3 MP",), "embedding": ("0.3 MP",)}
_FLOP_SIZE = "12 MP 4:3"


def measure(
    cache: Path, key: str, clock: Clock, ceilings: dict[str, float], quick: bool
) -> Iterator[Row]:
    """Yield a row for each precision, size of batch and way."""
    exact = models.load(cache, key)
    family = exact.spec.task
    batches = (_QUICK_BATCHES if quick else BATCHES)[family]
    photos = inputs(exact, (_QUICK_SIZES if quick else _SIZES)[family], max(batches))
    expected = answers(exact, exact.infer(photos))
    # Loading the network for the CPU may have changed this setting for the whole process. On the
    # GPU, the changed value would select tf32.
    torch.set_float32_matmul_precision("highest")
    tflop = flop(cache, key)[_FLOP_SIZE] / 1e12
    for precision in PRECISIONS:
        model = load(cache, key, precision, str(clock.device))
        assert isinstance(model.network, TorchNetwork)
        for images in batches:
            for name, way in WAYS.items():
                row: Row = {"model": key, "precision": precision, "batch": images, "way": name}
                if way in CUDA_ONLY and not clock.is_cuda:
                    yield row | {"ms": NO_CUDA}
                    continue
                with failing_into(row):
                    make = partial(way, model.network, photos[:images])
                    seconds, first, outputs = _run(make, clock)
                    achieved = images * tflop / seconds
                    row |= {
                        "ms": 1000 * seconds,
                        "images/s": images / seconds,
                        "TFLOP/s": achieved,
                        "share": achieved / ceilings[precision],
                        "first, s": first,
                        **differences(answers(model, outputs), expected[:images]),
                    }
                _give_back(clock)
                yield row


def _run(make: Callable[[], Work], clock: Clock) -> tuple[float, float, FloatArray]:
    """Return the seconds of a warm call, the seconds until the first outputs, and these outputs.

    The outputs are [n, ...].
    """
    with torch.inference_mode():
        began = time.perf_counter()
        work = make()
        outputs = on_host(work())
        first = time.perf_counter() - began
        return clock.seconds_of(work), first, outputs


def inputs(model: Model, sizes: tuple[str, ...], count: int) -> FloatArray:
    """Return [count, 3, h, w] float32 of fully decoded photos, of which only a few are distinct."""
    assert isinstance(model, DepthModel | ImageModel)
    supplies = [Photos((SIZES | MEGAPIXELS)[size]) for size in sizes]
    files = [photos.next() for photos in supplies for _ in range(DISTINCT)]
    prepared = [model.prepare(decode(io.BytesIO(file), 10**9)) for file in files]
    return np.resize(np.stack(prepared), (count, *prepared[0].shape))


def answers(model: Model, outputs: FloatArray) -> list[NDArray[Any]]:
    """Turn outputs of a network into maps [h, w] uint8, or into vectors [dims] of length 1."""
    if isinstance(model, DepthModel):
        return [model.finish(each, each.shape[1], each.shape[0]) for each in outputs]
    assert isinstance(model, ImageModel)
    return [model.finish(each, normalize=True) for each in outputs]


def _give_back(clock: Clock) -> None:
    """Free the memory that torch caches.

    Nothing else would reuse what a CUDA graph leaves there.
    """
    gc.collect()
    if clock.is_cuda:
        torch.cuda.empty_cache()


def main() -> None:
    """Entry point."""
    parser = arguments("One model on a device.")
    parser.add_argument("--cache", type=Path, required=True, help="made by benchmarks.checkpoints")
    parser.add_argument("--model", required=True)
    parser.add_argument("--ceilings", type=json.loads, required=True, help="TFLOP/s by precision")
    options = parser.parse_args()
    check_device(options.device)
    clock = Clock(options.device, options.quick)
    table = TABLES[FAMILY_OF[options.model]]
    for row in measure(options.cache, options.model, clock, options.ceilings, options.quick):
        emit(table, row)


if __name__ == "__main__":
    main()
