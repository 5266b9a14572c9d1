# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Writes the hub's cache layout: blobs, refs, and snapshots whose entries are links into blobs."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from benchmarks.checkpoints.numbers import SEED


@dataclass(frozen=True)
class Repository:
    """A repository: small files (texts, or objects to write as JSON) and one file of weights."""

    name: str
    files: dict[str, Any]
    weights_name: str
    weights: dict[str, Tensor]

    def folder(self, cache: Path) -> Path:
        """Return the repository's folder in a cache."""
        return cache / f"models--{self.name.replace('/', '--')}"

    def write(self, cache: Path) -> None:
        """Write the repository into a cache.

        refs/main is written last, so that an unfinished copy is never used.
        """
        folder = self.folder(cache)
        revision = hashlib.sha1(f"{self.name} random {SEED}".encode()).hexdigest()
        for content in ("blobs", "refs", f"snapshots/{revision}"):
            (folder / content).mkdir(parents=True, exist_ok=True)
        scratch = folder / "blobs" / f"making.{os.getpid()}"
        for name, content in self.files.items():
            text = content if isinstance(content, str) else json.dumps(content, indent=2) + "\n"
            scratch.write_text(text, encoding="utf-8")
            self._place(folder, revision, name, scratch)
        tensors = {name: tensor.contiguous().clone() for name, tensor in self.weights.items()}
        # This mark tells the service that the weights are random, not published ones.
        save_file(tensors, scratch, metadata={"format": "pt", "weights": "random"})
        self._place(folder, revision, self.weights_name, scratch)
        (folder / "refs" / "main").write_text(revision)

    @staticmethod
    def _place(folder: Path, revision: str, name: str, made: Path) -> None:
        with made.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        made.chmod(0o644)
        os.replace(made, folder / "blobs" / digest)
        link = folder / "snapshots" / revision / name
        link.unlink(missing_ok=True)
        link.symlink_to(f"../../blobs/{digest}")
