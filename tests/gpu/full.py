# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""A device without free memory."""

from __future__ import annotations

import torch


def fill() -> list[torch.Tensor]:
    """Take all memory of the device but a few megabytes."""
    held = []
    block = 2**30
    while block >= 2**20:
        try:
            held.append(torch.empty(block, dtype=torch.uint8, device="cuda"))
        except torch.OutOfMemoryError:
            block //= 2
    return held
