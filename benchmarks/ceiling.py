# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Measures how fast the machine can compute at best, and counts the work of one inference.

``python -m benchmarks.ceiling --cache CACHE --models small,ViT-L-14`` prints JSON: the ceilings of
matrix multiplication in GFLOP/s, and for each model and size of photo the FLOP of one inference
(a multiplication and an addition are two). It runs as a process of its own, because threads and
allocations of other work would lower the ceilings.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from app.engines.torch.runner import precision_for
from app.models.base import describe_checkpoint
from app.models.depth_family import DepthFamily
from app.models.embedding_family import EmbeddingFamily
from benchmarks.inputs import SIZES
from benchmarks.models import checkpoint_of, row

# Each entry holds the rows, inner length and columns of a matrix product. The first two multiply
# square matrices; the others occur in layers of ViT-L-14 (for a batch of 8) and of Depth Anything
# Small.
SHAPES = (
    (1024, 1024, 1024),
    (2048, 2048, 2048),
    (2056, 1024, 4096),
    (2056, 4096, 1024),
    (1814, 384, 1536),
)
# On a processor without bf16, torch multiplies bf16 so slowly that one of the products above would
# take a minute. A small one is enough there, because the ceiling is that of fp32.
_SLOW_SHAPES = ((256, 256, 256),)
_SAME = 1e-5


def gflops(shape: tuple[int, int, int], dtype: torch.dtype, seconds: float) -> float:
    """Return the GFLOP/s of the fastest product among as many as fit into ``seconds``."""
    rows, inner, columns = shape
    left, right = torch.randn(rows, inner).to(dtype), torch.randn(inner, columns).to(dtype)
    best, end = float("inf"), time.perf_counter() + seconds
    left @ right  # the first product also allocates memory, so it is not timed
    while (began := time.perf_counter()) < end or best == float("inf"):
        left @ right
        best = min(best, time.perf_counter() - began)
    return 2 * rows * inner * columns / best / 1e9


def ceilings(seconds: float) -> dict[str, float]:
    """Return the highest GFLOP/s over all shapes, on all cores, for "bf16" and for "fp32"."""
    shapes = SHAPES if precision_for("cpu") == "bf16" else _SLOW_SHAPES
    bf16 = max(gflops(shape, torch.bfloat16, seconds) for shape in shapes)
    fp32 = max(gflops(shape, torch.float32, seconds) for shape in SHAPES)
    # With "medium", torch uses another library, which rounds to bf16 on some CPUs. Its speed counts
    # as that of fp32 only if its results are as exact as those of fp32.
    sample = torch.randn(512, 512)
    exact = sample @ sample
    torch.set_float32_matmul_precision("medium")
    if _difference(sample @ sample, exact) < _SAME:
        fp32 = max(fp32, *(gflops(shape, torch.float32, seconds) for shape in SHAPES))
    torch.set_float32_matmul_precision("highest")
    return {"bf16": bf16, "fp32": fp32}


def _difference(one: Tensor, other: Tensor) -> float:
    """Return the largest difference, relative to the largest number in ``other``."""
    return float((one - other).abs().max() / other.abs().max())


def flop(cache: Path, key: str) -> dict[str, int]:
    """Count the FLOP of one inference for each size of photo.

    The network is on torch's meta device, so nothing is computed.
    """
    spec = row(key)
    family = describe_checkpoint(spec, checkpoint_of(spec, cache))
    # The counter fails where a layer's input is a parameter that has a gradient.
    network = family.module("image").to("meta").requires_grad_(False)
    if isinstance(family, DepthFamily):
        shapes = {name: family.input_size(*size) for name, size in SIZES.items()}
    else:
        assert isinstance(family, EmbeddingFamily)
        shapes = dict.fromkeys(SIZES, (family.image_size, family.image_size))
    with torch.device("meta"), torch.no_grad():
        counts = {shape: _count(network, *shape) for shape in set(shapes.values())}
    return {name: counts[shape] for name, shape in shapes.items()}


def _count(network: Any, columns: int, rows: int) -> int:
    with FlopCounterMode(display=False) as counter:
        network(torch.empty(1, 3, rows, columns))
    total: int = counter.get_total_flops()
    return total


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Ceilings of the machine, work of the models.")
    parser.add_argument("--cache", type=Path, required=True, help="made by benchmarks.checkpoints")
    parser.add_argument("--models", required=True, help="comma list")
    parser.add_argument("--seconds", type=float, default=0.7, help="for each shape of matrix")
    options = parser.parse_args()
    found: dict[str, Any] = ceilings(options.seconds)
    found["flop"] = {key: flop(options.cache, key) for key in options.models.split(",")}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
