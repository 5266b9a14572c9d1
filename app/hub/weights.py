# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Reads the size and the origin of weights from the description in their file.

That is the header of a safetensors file, or the pickle of a ``pytorch_model.bin``.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

from safetensors import safe_open

from app.hub import pickled_weights
from app.hub.pickled_weights import Tensor

PUBLISHED = "published"
BUILT_IN = "built-in"
_LARGEST_HEADER = 100_000_000  # bytes; the format's own limit


def are_pickled(path: Path) -> bool:
    """Whether the weights are in torch's format instead of safetensors."""
    return path.suffix == pickled_weights.SUFFIX


def size(path: Path, prefix: str | tuple[str, ...]) -> int:
    """Bytes of all tensors whose names begin with a prefix; the tensors are not read.

    Raises:
        Unsupported: a pickled file holds anything but tensors.
        Exception: the file is damaged.
    """
    return sum(each.size for name, each in _tensors(path).items() if name.startswith(prefix))


def parameters(path: Path) -> int:
    """Number of values of all tensors. Raises as ``size`` does."""
    return sum(math.prod(each.shape) for each in _tensors(path).values())


def _tensors(path: Path) -> dict[str, Tensor]:
    """The tensors, by name. Raises as ``size`` does."""
    if are_pickled(path):
        return pickled_weights.tensors(path)
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > _LARGEST_HEADER:
            raise ValueError("not a safetensors file")
        header = json.loads(file.read(length))
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            tensors[name] = Tensor(tuple(entry["shape"]), end - begin)
    return tensors


def origin(path: Path) -> str:
    """The origin of the weights: "published", or what ``weights`` in the file's metadata says.

    Checkpoints that benchmarks and tests generate are marked "random", the small models shipped
    with Twinlens "built-in", so that their answers are not mistaken for those of published models.
    Pickled files have no metadata.

    Raises:
        Unsupported: a pickled file holds anything but tensors.
        Exception: the file is damaged.
    """
    if are_pickled(path):
        pickled_weights.tensors(path)  # raises if it cannot be used
        return PUBLISHED
    with safe_open(path, framework="numpy") as file:
        return str((file.metadata() or {}).get("weights", PUBLISHED))
