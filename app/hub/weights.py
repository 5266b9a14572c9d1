# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""What a weights file says of itself."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import safe_open

PUBLISHED = "published"
BUILT_IN = "built-in"
_LARGEST_HEADER = 100_000_000  # bytes; the format's own limit


def size(path: Path, prefix: str | tuple[str, ...]) -> int:
    """Bytes of all tensors whose names begin with a prefix, from the file's header.

    Source: the safetensors format. Raises OSError, ValueError, KeyError: not a safetensors file.
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
    """Where the numbers come from: "published" unless the file's metadata says otherwise.

    The checkpoints that the benchmarks and the tests make carry ``weights = random`` and the small
    ones of our own ``weights = built-in``, so that nobody takes their answers for real ones.

    Raises:
        SafetensorError, OSError: not a safetensors file.
    """
    with safe_open(path, framework="numpy") as file:
        return str((file.metadata() or {}).get("weights", PUBLISHED))
