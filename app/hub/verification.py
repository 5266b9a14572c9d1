# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Verifies that a checkpoint on disk is the one that was downloaded, by sizes and checksums."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

from app.engines.base import LoadError
from app.hub import lockfile
from app.hub.checkpoint_files import CheckpointFiles
from app.hub.lockfile import FileRecord, LockFileError, Record
from app.hub.store import Checkpoint
from config.models import ModelSpec

log = logging.getLogger("twinlens.models")

Progress = Callable[[str, int, int], None]
"""Receives a file's name, the bytes of all files so far, and the bytes of all files in total."""

# A blob whose name has this length is named by the sha256 of its content.
SHA256_LENGTH = 64
_CHUNK = 2**22


class Damaged(Exception):
    """A file differs from what was recorded; ``path`` is the file to delete."""

    def __init__(self, path: Path, found: str, expected: str) -> None:
        super().__init__(f"{path} is damaged or was changed: {found}, expected {expected}")
        self.path = path


def verify(
    spec: ModelSpec,
    files: CheckpointFiles,
    checkpoint: Checkpoint,
    known: Record | None,
    progress: Progress,
) -> Record:
    """Read every byte of a checkpoint; returns the sizes and checksums that were found.

    Each file is compared with every checksum that is known: the recorded one, the name of its blob
    if that is a checksum, and for the weights the checksum in the table of models.

    Raises:
        Damaged: a file differs.
        OSError: a file cannot be read, or is missing.
    """
    names = files.expected(checkpoint.path, known.files if known is not None else ())
    paths = {name: (checkpoint.path / name).resolve() for name in names}
    sizes = {name: path.stat().st_size for name, path in paths.items()}
    total, before = sum(sizes.values()), 0
    found = {}
    for name, path in paths.items():
        recorded = known.files.get(name) if known is not None else None
        if recorded is not None and recorded.size != sizes[name]:
            raise Damaged(path, f"it has {sizes[name]} bytes", f"{recorded.size}")

        def report(done: int, name: str = name, before: int = before) -> None:
            progress(name, before + done, total)

        sha256 = digest(path, report)
        expected = [recorded.sha256 if recorded is not None else None]
        if path.parent.name == "blobs" and len(path.name) == SHA256_LENGTH:
            expected.append(path.name)
        if files.are_weights(name):
            expected.append(spec.sha256)
        for checksum in expected:
            if checksum not in (None, sha256):
                raise Damaged(path, f"its sha256 is {sha256}", f"{checksum}")
        found[name] = FileRecord(size=sizes[name], sha256=sha256)
        before += sizes[name]
    return Record(commit=checkpoint.revision, files=found)


def digest(path: Path, report: Callable[[int], None] = lambda _: None) -> str:
    """The sha256 of a file; ``report`` receives the number of bytes read so far. Raises OSError."""
    made, done = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            made.update(chunk)
            done += len(chunk)
            report(done)
    return made.hexdigest()


def check_sizes(
    spec: ModelSpec, files: CheckpointFiles, checkpoint: Checkpoint, cache: Path
) -> None:
    """Compare the sizes of the files with the recorded ones; fast enough to do at every load.

    Raises:
        LoadError: a size differs, or a recorded file is missing. Without an optional file a
            model's answers could change, so that file is not ignored.
    """
    if not spec.is_downloadable:
        return
    try:
        known = lockfile.pinned(spec, cache)
    except LockFileError as error:  # a damaged lock file does not mean a damaged model
        log.warning("%s: its files are not checked: %s", spec.key, error)
        return
    for name, recorded in known.files.items() if known is not None else ():
        try:
            size = (checkpoint.path / name).stat().st_size
        except OSError as error:
            # An older version of Twinlens recorded it and needed it, or it is a substitute that is
            # not used.
            if name not in (*files.required, *files.optional):
                continue
            raise LoadError(
                f"{name} is recorded, but missing; delete the model and download it again"
            ) from error
        if size != recorded.size:
            raise LoadError(
                f"{name} is damaged or was changed: it has {size} bytes, {recorded.size} are "
                "recorded; delete the model and download it again"
            )


def verify_content(
    spec: ModelSpec, files: CheckpointFiles, checkpoint: Checkpoint, cache: Path
) -> None:
    """Verify every byte of a checkpoint whose files were written to while it was in use.

    Raises:
        LoadError: a file differs or cannot be read.
    """
    try:
        known = lockfile.pinned(spec, cache) if not spec.is_built_in else None
        verify(spec, files, checkpoint, known, lambda *_: None)
    except LockFileError as error:
        log.warning("%s: its files are not checked: %s", spec.key, error)
    except Damaged as error:
        log.error("%s: %s", spec.key, error)
        raise LoadError(
            f"{error.path.name} was damaged or changed while it was in use; delete the model and "
            "download it again"
        ) from None
    except OSError as error:
        raise LoadError(f"its files cannot be read ({error.strerror})") from error
