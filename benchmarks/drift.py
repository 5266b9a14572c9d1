# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Measures how decoding a JPEG at reduced size changes the answers, and how much time it saves.

``python -m benchmarks.drift --cache CACHE`` compares it with full decoding (EXACT_DECODE=true). For
each size of photo it prints the cosine of the vectors, the mean and the 99.9th percentile of the
difference of the maps in levels of 255, and the milliseconds that decoding and preparing take in
either case.
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from app.engines.base import FloatArray
from app.pictures.decode import DecodeSize, Picture, decode, in_full
from benchmarks.inputs import SIZES
from benchmarks.models import DepthModel, ImageModel, load
from benchmarks.peak import photo

REPEATS = 5


def prepared(
    data: bytes, decode_size: DecodeSize, prepare: Callable[[Picture], FloatArray]
) -> tuple[FloatArray, float]:
    """Return the network's input, and the median of the milliseconds that it took to make it."""
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        inputs = prepare(decode(io.BytesIO(data), 10**9, decode_size))
        times.append((time.perf_counter() - began) * 1000)
    return inputs, statistics.median(times)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Drift of reduced decoding.")
    parser.add_argument("--cache", type=Path, required=True, help="made by benchmarks.checkpoints")
    options = parser.parse_args()
    depth = load(options.cache, "small")
    clip = load(options.cache, "ViT-L-14")
    assert isinstance(depth, DepthModel)
    assert isinstance(clip, ImageModel)
    for name, size in SIZES.items():
        data = photo(*size)
        full, slow = prepared(data, in_full, depth.prepare)
        scaled, fast = prepared(data, depth.decode_size, depth.prepare)
        maps = [depth.finish(depth.infer(each[None])[0], *size) for each in (full, scaled)]
        off = np.abs(maps[0].astype(int) - maps[1])
        print(
            f"{name}: depth mean {off.mean():.2f}, 99.9 % {np.percentile(off, 99.9):.0f}, "
            f"{slow:.0f} ms to {fast:.0f} ms",
            flush=True,
        )
        full, slow = prepared(data, in_full, clip.prepare)
        scaled, fast = prepared(data, partial(clip.decode_size, None), clip.prepare)
        one, other = (clip.finish(clip.infer(each[None])[0], True) for each in (full, scaled))
        print(f"{name}: embedding cosine {one @ other:.6f}, {slow:.0f} ms to {fast:.0f} ms")


if __name__ == "__main__":
    main()
