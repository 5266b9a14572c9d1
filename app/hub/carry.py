# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""A checkpoint from one cache into another one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from app.host import atomic
from app.hub import lockfile, store
from app.hub.lockfile import Record
from app.hub.store import Checkpoint
from config.models import ModelSpec


def carry(spec: ModelSpec, checkpoint: Checkpoint, verified: Record, cache: Path) -> None:
    """Put the files of a checkpoint into a cache, by hard links where the disk is the same.

    Args:
        spec: the model.
        checkpoint: in another cache.
        verified: its files, which were read just now.
        cache: the folder; its lock file records them, too.

    Raises:
        OSError: the disk failed or is full.
        LockFileError: it cannot be recorded.
    """
    lockfile.pinned(spec, cache)  # raises now rather than after all is copied
    folder = store.repository_folder(cache, spec)
    for name, file in verified.files.items():
        origin = (checkpoint.path / name).resolve()
        # The name by which the hub's client finds it.
        known_as = origin.name if origin.parent.name == "blobs" else file.sha256
        blob = folder / "blobs" / known_as
        blob.parent.mkdir(parents=True, exist_ok=True)
        _same_or_copy(origin, blob)
        store.place(blob, folder / "snapshots" / verified.commit / name)
    lockfile.record(spec, verified, cache)
    store.point(spec, verified.commit, cache)


def _same_or_copy(origin: Path, blob: Path) -> None:
    fresh = atomic.scratch(blob)
    try:
        fresh.unlink(missing_ok=True)
        try:
            os.link(origin, fresh)
        except OSError:  # another disk, or one without links
            with origin.open("rb") as source, fresh.open("wb") as file:
                shutil.copyfileobj(source, file, 2**22)
                file.flush()
                os.fsync(file.fileno())  # it may be pulled out soon
        os.replace(fresh, blob)
    finally:
        fresh.unlink(missing_ok=True)  # also where both names are of one file: nothing is moved
