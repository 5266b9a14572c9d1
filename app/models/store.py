# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Checkpoints on disk: in the hub's cache, and those that are a part of the program."""

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
    #: where what is made from it may be kept
    repository: Path


#: Checkpoints that are a part of the program, a folder for each key.
BUILTIN = Path(__file__).parent / "builtin"


def repository_folder(cache: Path, spec: ModelSpec) -> Path:
    """The folder of a repository in the cache (huggingface_hub, "Understand caching")."""
    if spec.hub_id is None:
        return cache / f"twinlens--{spec.row_key}"
    return cache / f"models--{spec.hub_id.replace('/', '--')}"


def find(spec: ModelSpec, files: tuple[str, ...], cache: Path) -> Checkpoint | None:
    """The snapshot of ``spec.revision`` if every one of ``files`` is there, else None."""
    folder = repository_folder(cache, spec)
    if spec.is_built_in:
        return _complete(BUILTIN / spec.row_key, files, spec.revision, folder)
    try:
        revision = (folder / "refs" / spec.revision).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        revision = spec.revision  # a commit is its own snapshot
    return _complete(folder / "snapshots" / revision, files, revision, folder)


def _complete(
    path: Path, files: tuple[str, ...], revision: str, repository: Path
) -> Checkpoint | None:
    # is_file() follows the links into blobs/: a broken one counts as absent.
    if all((path / name).is_file() for name in files):
        return Checkpoint(path, revision, repository)
    return None


def delete(spec: ModelSpec, cache: Path) -> None:
    """Delete the repository's folder in the cache, and nothing outside it.

    Of a model that is a part of the program only what was made from it.

    Raises:
        OSError: it cannot be deleted.
    """
    folder = repository_folder(cache, spec)
    if folder.is_symlink():  # its target lies elsewhere and is not ours
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)  # removes links, never what they point to
    for place in converted.places(folder):  # also one that does not lie in the folder
        shutil.rmtree(place, ignore_errors=True)
    # The hub client's lock files, one folder a repository.
    shutil.rmtree(cache / ".locks" / folder.name, ignore_errors=True)
