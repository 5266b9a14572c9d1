# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Makes tiny Depth Anything 3 checkpoints with fixed weights; reference outputs are stored."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from benchmarks.checkpoints import depth3
from config.models import ModelSpec

#: The kinds are models for any number of views, for one view, and for one view in metres. Two
#: attention heads and six blocks are enough to test every kind of block, both before and after the
#: camera token is inserted.
SHAPES = {
    kind: replace(
        depth3.SHAPES[key],
        width=128,
        layers=6,
        stages=stages,
        start=min(2, depth3.SHAPES[key].start),
        neck=(16, 24, 32, 40),
        fusion=32,
    )
    for kind, key, stages in (
        ("views", "da3-small", (1, 3, 4, 5)),
        ("mono", "da3-mono-large", (0, 2, 4, 5)),
        ("metric", "da3-metric-large", (0, 2, 4, 5)),
    )
}
#: rows and columns of the inputs: one patch, wide, tall, 20:1, and like a photo
SIZES = ((14, 14), (70, 98), (126, 42), (14, 280), (126, 168))


def tensors(kind: str) -> dict[str, torch.Tensor]:
    """Tensors by name without ``model.``.

    They come from NumPy's RandomState, because its numbers never change. Biases, embeddings and
    scales are as large as the values that they are combined with, so that a mistake in any of them
    changes the output.
    """
    draw = np.random.RandomState(3)
    found = {}
    for name, size in sorted(depth3.tensor_shapes(SHAPES[kind]).items()):
        values = draw.standard_normal(size)
        if name.endswith("gamma"):
            values = 0.6 * np.exp(0.3 * values)
        elif "norm" in name and name.endswith("weight"):
            values = np.exp(0.3 * values)
        elif len(size) == 1:
            values *= 0.3
        elif len(size) != 3:  # not an embedding
            is_transposed = "resize_layers" in name and size[2] != 3
            values *= 1.3 / math.sqrt(size[0] if is_transposed else math.prod(size[1:]))
        if "output_conv2.2" in name:
            values *= 0.1
        found[name] = torch.from_numpy(values.astype(np.float32))
    return found


def pixels(size: tuple[int, int]) -> NDArray[np.float32]:
    """A normalised input [1, 3, rows, columns] of noise."""
    draw = np.random.RandomState(size[0] * 1000 + size[1])
    return draw.standard_normal((1, 3, *size)).astype(np.float32)


def write(folder: Path, kind: str) -> ModelSpec:
    """Write a checkpoint in the published layout, and return its row."""
    folder.mkdir(parents=True, exist_ok=True)
    config = depth3.config_json(SHAPES[kind])
    (folder / "config.json").write_text(json.dumps(config))
    found = {f"model.{name}": value for name, value in tensors(kind).items()}
    # The published files also have tensors like these, which the depth of one photo does not need.
    found |= {
        f"model.{name}": torch.ones(1)
        for name in ("cam_dec.fc_t.weight", "head.scratch.output_conv1_aux.0.0.weight")
    }
    save_file(found, folder / "model.safetensors", metadata={"format": "pt"})
    return row(folder, kind)


def row(folder: Path, kind: str) -> ModelSpec:
    """The row of a checkpoint that ``write`` makes."""
    return ModelSpec(key=kind, family="depth_anything_3", path=folder)
