# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""``twinlens.lock.json``: which commit of each repository is in use, and its files' checksums.

It lies in the cache itself: what is copied to another machine brings it along, it is as writable as
the checkpoints are, and deleting a model does not delete what is known of it. It is written by
``app.hub.transfer`` and by the command line; whoever reads it holds to it.
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
# Ours is about 500 bytes a model; whatever is larger is something else.
_LARGEST_BYTES = 2**20


class LockFileError(Exception):
    """It cannot be read or written, or is not ours. The message has paths: not for clients."""


class FileRecord(BaseModel):
    """One file of a commit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Record(BaseModel):
    """One commit; of its files those that Twinlens uses."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # It becomes a part of paths. Made by hand, a snapshot may also have the name of a branch.
    commit: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$")
    files: dict[str, FileRecord]


class LockFile(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1]
    #: hub id, then revision as the table of models names it ("main")
    repositories: dict[str, dict[str, Record]]


def pinned(spec: ModelSpec, cache: Path) -> Record | None:
    """What is recorded of a model; None: nothing yet. Raises LockFileError."""
    path = cache / NAME
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _unreadable(path, error.strerror) from None
    # Asked for at each look at the disk, hence remembered as long as it is the same file.
    content = _parsed(path, (status.st_ino, status.st_mtime_ns, status.st_size))
    return content.repositories.get(spec.hub_id or "", {}).get(spec.revision)


def record(spec: ModelSpec, fresh: Record, cache: Path) -> None:
    """Record a commit in the place of another one, or more files of the same one.

    Raises:
        LockFileError: there is another kind of file, which stays; or it cannot be written.
    """
    assert spec.hub_id is not None  # what is built in is no download
    path = cache / NAME
    try:
        guard = cache / ".locks" / NAME
        guard.parent.mkdir(parents=True, exist_ok=True)
        # Services and commands may share the cache: nobody's record is lost. The lock is on another
        # file, since this one is replaced.
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
