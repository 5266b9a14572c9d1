# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""``twinlens.lock.json`` records the commit in use of each repository, and its files' checksums.

The lock file lies in the cache itself, so that it is copied along with the checkpoints and is
writable where they are. It outlives a deleted model: a new download gets the same commit. Downloads
and the command line write it; a recorded commit is used until an update is asked for.
"""

from __future__ import annotations

import fcntl
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.host import atomic
from config.models import ModelSpec

NAME = "twinlens.lock.json"
# A lock file has about 500 bytes per model, so a file larger than this cannot be one.
_LARGEST_BYTES = 2**20


class LockFileError(Exception):
    """The lock file cannot be read or written, or is damaged.

    The message contains paths of the host and must not reach clients.
    """


class FileRecord(BaseModel):
    """One file of a commit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Record(BaseModel):
    """One commit, with those of its files that Twinlens uses."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # The characters are restricted, because this becomes a part of paths. A snapshot folder that
    # was made by hand may have the name of a branch instead of a commit.
    commit: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$")
    files: dict[str, FileRecord]


class LockFile(BaseModel):
    """The content of the lock file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1]
    #: records by hub id and by revision, as the table of models names it (such as "main")
    repositories: dict[str, dict[str, Record]]


def pinned(spec: ModelSpec, cache: Path) -> Record | None:
    """The record of a model, or None if there is none yet. Raises LockFileError."""
    path = cache / NAME
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _unreadable(path, error.strerror) from None
    # The parsed file is cached until the file changes, because this is called very often.
    content = _parsed(path, (status.st_ino, status.st_mtime_ns, status.st_size))
    return content.repositories.get(spec.hub_id or "", {}).get(spec.revision)


def record(spec: ModelSpec, fresh: Record, cache: Path) -> None:
    """Record a commit; if it is recorded already, the new files are added to its record.

    Raises:
        LockFileError: the lock file is damaged (it is left as it is) or cannot be written.
    """
    assert spec.hub_id is not None  # models without a hub id are never downloaded
    path = cache / NAME
    try:
        guard = cache / ".locks" / NAME
        guard.parent.mkdir(parents=True, exist_ok=True)
        # Several processes may write at the same time. They lock a separate file, because the lock
        # file itself is replaced by each write.
        with guard.open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            text = _text(path) if path.exists() else '{"version": 1, "repositories": {}}'
            content = _parse(path, text)
            revisions = content.repositories.setdefault(spec.hub_id, {})
            before = revisions.get(spec.revision)
            if before is not None and before.commit == fresh.commit:
                fresh = fresh.model_copy(update={"files": before.files | fresh.files})
            if fresh != before:
                revisions[spec.revision] = fresh
                text = content.model_dump_json(indent=2) + "\n"
                atomic.write_text(path, text, durable=True)
    except OSError as error:
        raise LockFileError(f"{path} cannot be written ({error.strerror})") from error


@lru_cache(maxsize=4)
def _parsed(path: Path, _stamp: tuple[int, int, int]) -> LockFile:
    try:
        return _parse(path, _text(path))
    except OSError as error:
        raise _unreadable(path, error.strerror) from None


def _text(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(_LARGEST_BYTES + 1).decode("utf-8", "replace")


def _parse(path: Path, text: str) -> LockFile:
    if len(text) > _LARGEST_BYTES:
        raise _unreadable(path, "larger than it can be")
    try:
        return LockFile.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise _unreadable(path, f"{where}: {first['msg']}" if where else first["msg"]) from None


def _unreadable(path: Path, why: object) -> LockFileError:
    return LockFileError(
        f"{path} is damaged or was not written by this version of Twinlens ({why}). Nothing was "
        "changed. Put a good copy in its place, or move it away: what is on disk is then recorded "
        "anew"
    )
