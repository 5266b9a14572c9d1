# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Reads the size and the origin of weights from the header of their safetensors file."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import safe_open

PUBLISHED = "published"
BUILT_IN = "built-in"
_LARGEST_HEADER = 100_000_000  # bytes; the format's own limit


def size(path: Path, prefix: str | tuple[str, ...]) -> int:
    """Bytes of all tensors whose names begin with a prefix, read from the file's header.

    Raises:
        OSError, ValueError, KeyError: it is not a safetensors file.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > _LARGEST_HEADER:
            raise ValueError("not a safetensors file")
        header = json.loads(file.read(length))
    tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
    spans = [entry["data_offsets"] for name, entry in tensors.items() if name.startswith(prefix)]
    return sum(end - begin for begin, end in spans)


def origin(path: Path) -> str:
    """The origin of the weights: "published", or what ``weights`` in the file's metadata says.

    Checkpoints that benchmarks and tests generate are marked "random", the small models shipped
    with Twinlens "built-in", so that their answers are not mistaken for those of published models.

    Raises:
        SafetensorError, OSError: it is not a safetensors file.
    """
    with safe_open(path, framework="numpy") as file:
        return str((file.metadata() or {}).get("weights", PUBLISHED))
