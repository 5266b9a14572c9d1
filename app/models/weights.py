# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""What a weights file says of itself."""

from __future__ import annotations

from pathlib import Path

from safetensors import safe_open

PUBLISHED = "published"


def origin(path: Path) -> str:
    """Where the numbers come from: "published" unless the file's metadata says otherwise.

    The checkpoints that ``make demo`` and the tests make carry ``weights = random``, so that nobody
    takes their answers for real ones.

    Raises:
        SafetensorError, OSError: not a safetensors file.
    """
    with safe_open(path, framework="numpy") as file:
        return str((file.metadata() or {}).get("weights", PUBLISHED))
