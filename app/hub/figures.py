# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Numbers as people read them."""

from __future__ import annotations


def size_text(size: int) -> str:
    """Bytes, such as "599 MB" or "1.7 GB"."""
    if size >= 10**9:
        return f"{size / 1e9:.1f} GB"
    return f"{max(1, round(size / 1e6))} MB"


def parameters_text(count: int) -> str:
    """A number of parameters, such as "86M"."""
    return f"{max(1, round(count / 1e6))}M" if count < 10**9 else f"{count / 1e9:.1f}B"
