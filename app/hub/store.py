# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Checkpoints on disk: in the hub's cache, in folders of the user's, in the program."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from app.engines.openvino import cache as converted
from app.host import atomic
from app.hub import lockfile
from app.hub.lockfile import LockFileError
from config.models import ModelSpec


@dataclass(frozen=True)
class Checkpoint:
    """A complete snapshot: a folder with the files of one commit."""

    path: Path
    revision: str
    #: where what is made from it may be kept
    repository: Path


#: Checkpoints that are a part of the program, a folder for each key.
BUILTIN = Path(__file__).resolve().parents[1] / "models" / "builtin"


def repository_folder(cache: Path, spec: ModelSpec) -> Path:
    """The folder of a repository in the cache (huggingface_hub, "Understand caching")."""
    if spec.hub_id is None:
        return cache / f"twinlens--{spec.key}"
    return cache / f"models--{spec.hub_id.replace('/', '--')}"


def find(spec: ModelSpec, files: tuple[str, ...], cache: Path) -> Checkpoint | None:
    """The snapshot of ``spec.revision`` if every one of ``files`` is there, else None.

    The recorded commit counts, wherever a branch has gone since.
    """
    folder = repository_folder(cache, spec)
    if spec.is_built_in:
        return _complete(BUILTIN / spec.key, files, spec.revision, folder)
    if spec.path is not None:
        return _complete(spec.path, files, "local", folder)
    revision = known_commit(spec, cache) or spec.revision  # a commit is its own snapshot
    return _complete(folder / "snapshots" / revision, files, revision, folder)


def known_commit(spec: ModelSpec, cache: Path) -> str | None:
    """The commit that ``spec.revision`` means in this cache; None where nothing says it."""
    # Without a good record the cache is taken as any client of the hub takes it; those who write
    # the record, and the check before each load, tell what is wrong with it.
    with suppress(LockFileError):
        if known := lockfile.pinned(spec, cache):
            return known.commit
    try:
        reference = repository_folder(cache, spec) / "refs" / spec.revision
        return reference.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None


def _complete(
    path: Path, files: tuple[str, ...], revision: str, repository: Path
) -> Checkpoint | None:
    # is_file() follows the links into blobs/: a broken one counts as absent.
    if all((path / name).is_file() for name in files):
        return Checkpoint(path, revision, repository)
    return None


def place(blob: Path, name: Path) -> None:
    """Let a file of a snapshot be a blob: by a link, where the file system has links.

    FAT and exFAT have none: there the blob itself moves to that name, as with the hub's own client.

    Raises:
        OSError: neither can be done.
    """
    name.parent.mkdir(parents=True, exist_ok=True)
    fresh = atomic.scratch(name)
    fresh.unlink(missing_ok=True)
    try:
        fresh.symlink_to(os.path.relpath(blob, name.parent))
    except OSError:
        os.replace(blob, name)
    else:
        os.replace(fresh, name)


def point(spec: ModelSpec, commit: str, cache: Path) -> None:
    """Let refs/<branch> name a commit, last: only then does a checkpoint count as there."""
    if spec.revision == commit:
        return
    reference = repository_folder(cache, spec) / "refs" / spec.revision
    reference.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_text(reference, commit)


def delete(spec: ModelSpec, cache: Path) -> None:
    """Delete the repository's folder in the cache, and nothing outside it.

    Of a model that is a part of the program, or lies in a folder of the user's, only what was made
    from it.

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
