# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Finds the folder from which the reference's library loads the checkpoint of a model."""

from __future__ import annotations

from pathlib import Path

from benchmarks.checkpoints import clip, depth, siglip


def folder(cache: Path, key: str) -> Path:
    """Return the snapshot, which for CLIP is a separate repository, in transformers' format."""
    if key in depth.SHAPES:
        repository = depth.SHAPES[key].repository
    elif key in siglip.SHAPES:
        repository = siglip.SHAPES[key].repository
    else:
        repository = clip.SHAPES[key].transformers_repository
    path = cache / f"models--{repository.replace('/', '--')}"
    return path / "snapshots" / (path / "refs" / "main").read_text()
