# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The hub's cache on disk: which checkpoints are there, complete."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from app.engines import converted
from config.models import ModelSpec


@dataclass(frozen=True)
class Checkpoint:
    """A complete snapshot: a folder with the files of one commit."""

    path: Path
    revision: str


def repository_folder(cache: Path, hub_id: str) -> Path:
    """The folder of a repository in the cache (huggingface_hub, "Understand caching")."""
    return cache / f"models--{hub_id.replace('/', '--')}"


def find(spec: ModelSpec, files: tuple[str, ...], cache: Path) -> Checkpoint | None:
    """The snapshot of ``spec.revision`` if every one of ``files`` is there, else None."""
    folder = repository_folder(cache, spec.hub_id)
    try:
        revision = (folder / "refs" / spec.revision).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        revision = spec.revision  # a commit is its own snapshot
    snapshot = folder / "snapshots" / revision
    # is_file() follows the links into blobs/: a broken one counts as absent.
    if all((snapshot / name).is_file() for name in files):
        return Checkpoint(snapshot, revision)
    return None


def delete(spec: ModelSpec, cache: Path) -> None:
    """Delete the repository's folder in the cache, and nothing outside it.

    Raises:
        OSError: it cannot be deleted.
    """
    folder = repository_folder(cache, spec.hub_id)
    if folder.is_symlink():  # its target lies elsewhere and is not ours
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)  # removes links, never what they point to
    for place in converted.places(folder):  # also one that does not lie in the folder
        shutil.rmtree(place, ignore_errors=True)
    # The hub client's lock files, one folder a repository.
    shutil.rmtree(cache / ".locks" / folder.name, ignore_errors=True)
