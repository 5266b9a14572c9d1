# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Keeps many renderings on disk.

They are made once, on all cores. After an interruption, only the missing ones are made.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from training.scenes.compose import Scene
from training.scenes.render import render
from training.scenes.views import imagine

WIDTH, HEIGHT = 400, 304
#: Scenes with this number or a higher one are never trained on.
HELD_OUT = 1_000_000
_BLOCK = 50


@dataclass(frozen=True)
class Scenes:
    """Holds renderings that were read from disk."""

    #: [n, 304, 400, 3] uint8, sRGB
    pixels: NDArray[np.uint8]
    #: [n, 304, 400] float16, 1/metres, 0 is the sky
    disparity: NDArray[np.float16]


def scenes(folder: Path, count: int, of: Callable[[int], Scene] = imagine) -> Scenes:
    """Return the scenes ``of`` 0 to ``count`` - 1, and render those that are not on disk yet."""
    folder = folder / _renderer() / of.__name__
    folder.mkdir(parents=True, exist_ok=True)
    blocks = range(0, count, _BLOCK)
    context = multiprocessing.get_context("spawn")
    with context.Pool(len(os.sched_getaffinity(0)), _one_thread) as pool:
        made = pool.imap_unordered(partial(_make, folder, of), blocks)
        for _ in tqdm(made, total=len(blocks), desc="scenes, in hundreds"):
            pass
    parts = [np.load(_file(folder, block)) for block in blocks]
    pixels = np.concatenate([part["pixels"] for part in parts])
    disparity = np.concatenate([part["disparity"] for part in parts])
    return Scenes(pixels[:count], disparity[:count])


def _renderer() -> str:
    """Return a name that changes with the rendering code, so that old renderings are not reused."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:12]


def _one_thread() -> None:
    import cv2

    cv2.setNumThreads(1)


def _file(folder: Path, block: int) -> Path:
    return folder / f"{block:07d}.npz"


def _make(folder: Path, of: Callable[[int], Scene], block: int) -> None:
    file = _file(folder, block)
    if file.is_file():
        return
    renderings = [render(of(seed), WIDTH, HEIGHT) for seed in range(block, block + _BLOCK)]
    partial_file = file.with_suffix(".partial.npz")
    np.savez(
        partial_file,
        pixels=np.stack([each.pixels for each in renderings]),
        disparity=np.stack([each.disparity for each in renderings]).astype(np.float16),
    )
    partial_file.replace(file)  # so that the final name never stands for half a file
