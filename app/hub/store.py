# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Checkpoints on disk, in the hub's cache, in the user's own folders or in the program itself."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from app.engines.openvino import cache as converted
from app.host import atomic
from app.hub import lockfile
from app.hub.checkpoint_files import CheckpointFiles
from app.hub.lockfile import LockFileError, Record
from config.models import ModelSpec


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint: a folder with all files that the model needs, of one commit."""

    path: Path
    revision: str
    #: folder for files derived from the checkpoint, such as converted models
    repository: Path


#: Checkpoints that are shipped with the program, one folder per model key.
BUILTIN = Path(__file__).resolve().parents[1] / "models" / "builtin"


def repository_folder(cache: Path, spec: ModelSpec) -> Path:
    """The folder of a repository in the cache (see "Understand caching" of huggingface_hub)."""
    if spec.hub_id is None:
        return cache / f"twinlens--{spec.key}"
    return cache / f"models--{spec.hub_id.replace('/', '--')}"


def find_checkpoint(spec: ModelSpec, files: CheckpointFiles, cache: Path) -> Checkpoint | None:
    """The snapshot of ``spec.revision``, or None if it lacks a required file and its substitute.

    If the lock file records a commit for the revision, that commit is taken, even if the branch
    has moved on the hub since.
    """
    folder = repository_folder(cache, spec)
    if spec.is_built_in:
        return _complete(BUILTIN / spec.key, files, spec.revision, folder)
    if spec.path is not None:
        return _complete(spec.path, files, "local", folder)
    if not folder.is_dir():  # most models are not on disk, and /health asks for each of them
        return None
    revision = known_commit(spec, cache) or spec.revision  # a row may name a commit
    return _complete(folder / "snapshots" / revision, files, revision, folder)


def known_commit(spec: ModelSpec, cache: Path) -> str | None:
    """The commit that ``spec.revision`` means in this cache; None if it is not known."""
    # A damaged lock file is ignored here, and refs/ decides as for any client of the hub. The
    # damage is reported before each load and when the lock file is written.
    with suppress(LockFileError):
        if known := lockfile.pinned(spec, cache):
            return known.commit
    try:
        reference = repository_folder(cache, spec) / "refs" / spec.revision
        return reference.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None


def _complete(
    path: Path, files: CheckpointFiles, revision: str, repository: Path
) -> Checkpoint | None:
    return Checkpoint(path, revision, repository) if files.are_required_in(path) else None


def mark_absent(spec: ModelSpec, commit: str, name: str, cache: Path) -> None:
    """Note that a commit on the hub has no file of this name, as the hub's own client does."""
    mark = _absence_mark(spec, commit, name, cache)
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()


def is_marked_absent(spec: ModelSpec, commit: str, name: str, cache: Path) -> bool:
    """Whether a commit on the hub is known to have no file of this name."""
    return _absence_mark(spec, commit, name, cache).is_file()


def _absence_mark(spec: ModelSpec, commit: str, name: str, cache: Path) -> Path:
    return repository_folder(cache, spec) / ".no_exist" / commit / name


def link_blob(blob: Path, name: Path) -> None:
    """Make ``name``, a file of a snapshot, a symbolic link to ``blob``.

    On file systems without links (FAT, exFAT) the blob is moved to ``name`` instead, as the hub's
    own client does.

    Raises:
        OSError: the file can be neither linked nor moved.
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


def set_reference(spec: ModelSpec, commit: str, cache: Path) -> None:
    """Write the commit to refs/<branch>.

    This must be called last, because the checkpoint counts as present from then on.
    """
    if spec.revision == commit:
        return
    reference = repository_folder(cache, spec) / "refs" / spec.revision
    reference.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_text(reference, commit)


def copy_checkpoint(spec: ModelSpec, checkpoint: Checkpoint, verified: Record, cache: Path) -> None:
    """Copy a checkpoint into another cache, by hard links if both are on the same disk.

    Args:
        spec: the model.
        checkpoint: the checkpoint in its present cache.
        verified: sizes and checksums of its files, which have just been verified.
        cache: the cache to copy to; its lock file will record the files.

    Raises:
        OSError: the disk failed or is full.
        LockFileError: the lock file of ``cache`` cannot be used.
    """
    lockfile.pinned(spec, cache)  # raises if the lock file is damaged, before anything is copied
    folder = repository_folder(cache, spec)
    for name, file in verified.files.items():
        origin = (checkpoint.path / name).resolve()
        # Blobs keep the name that the hub's client looks for.
        blob_name = origin.name if origin.parent.name == "blobs" else file.sha256
        blob = folder / "blobs" / blob_name
        blob.parent.mkdir(parents=True, exist_ok=True)
        _link_or_copy(origin, blob)
        link_blob(blob, folder / "snapshots" / verified.commit / name)
    lockfile.record(spec, verified, cache)
    set_reference(spec, verified.commit, cache)


def _link_or_copy(origin: Path, blob: Path) -> None:
    fresh = atomic.scratch(blob)
    try:
        fresh.unlink(missing_ok=True)
        try:
            os.link(origin, fresh)
        except OSError:  # another disk, or a file system without hard links
            with origin.open("rb") as source, fresh.open("wb") as file:
                shutil.copyfileobj(source, file, 2**22)
                file.flush()
                os.fsync(file.fileno())  # a removable disk may be unplugged right afterwards
        os.replace(fresh, blob)
    finally:
        # os.replace() does nothing if both names are links to the same file: ``fresh`` is left.
        fresh.unlink(missing_ok=True)


def delete(spec: ModelSpec, cache: Path) -> None:
    """Delete the model's folder in the cache, and what was converted from the model.

    The files of a built-in model, or of a model in the user's own folder, are kept.

    Raises:
        OSError: the folder cannot be deleted.
    """
    folder = repository_folder(cache, spec)
    if folder.is_symlink():  # only the link is deleted: its target is the user's own
        folder.unlink()
    else:
        while folder.exists():
            with suppress(FileNotFoundError):  # another request deletes it at the same time
                shutil.rmtree(folder)  # removes links, but not their targets
    # Converted models may lie outside of the folder.
    for place in converted.candidate_folders(folder):
        shutil.rmtree(place, ignore_errors=True)
    # The hub client keeps lock files in a folder per repository.
    shutil.rmtree(cache / ".locks" / folder.name, ignore_errors=True)
