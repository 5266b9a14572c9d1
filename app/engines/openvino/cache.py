# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Converted models on disk: where they lie, what they were made from, whether they are whole.

Each is a folder beside its checkpoint, named by a hash of all that it was made from, so that
another checkpoint or version of a library finds none and makes its own. A manifest with sizes and
checksums is part of it, and it comes to its place by one rename.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from isal import isal_zlib
from pydantic import BaseModel, ValidationError

_MANIFEST = "manifest.json"
_PREFIX = "openvino-"


class Manifest(BaseModel):
    """``manifest.json``."""

    #: checkpoint and versions of libraries: a folder with another basis is out of date
    basis: str
    #: file names to size in bytes and CRC-32
    files: dict[str, tuple[int, int]]


def name_for(basis: str, variant: str) -> str:
    """The name of the folder; several variants of one basis may stand side by side."""
    return _PREFIX + hashlib.sha256(f"{basis}\n{variant}".encode()).hexdigest()[:16]


def candidate_folders(repository: Path) -> list[Path]:
    """Folders that may hold a repository's converted models, the best first.

    Beside the checkpoint, so that whoever deletes or copies it takes them along; where the cache
    cannot be written, in the user's own, if the user has one.
    """
    found = [repository / "twinlens"]
    with suppress(RuntimeError):  # no HOME, and a user id without a name
        home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
        found.append(home / "twinlens" / repository.name)
    return found


def find_converted(repository: Path, name: str) -> Path | None:
    """The folder of a converted model that is whole; one that is not counts as absent."""
    for place in candidate_folders(repository):
        if _is_whole(place / name):
            return place / name
    return None


def writable_folder(repository: Path) -> Path:
    """The place for a new one, which is made if need be. Raises OSError: there is none."""
    failure: OSError | None = None
    for place in candidate_folders(repository):
        try:
            place.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=place):
                return place
        except OSError as error:
            failure = failure or error
    assert failure is not None
    raise failure


@contextmanager
def locked(place: Path) -> Iterator[int]:
    """Wait until nobody else makes something in a place; gives the lock's file descriptor."""
    lock = os.open(place, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock
    finally:
        os.close(lock)


def publish(made: Path, target: Path, basis: str) -> None:
    """Put a folder of fresh files in its place at once; the caller is alone there.

    What it replaces, what is out of date and what a killed process left is removed. Who has such a
    file open keeps it: mapped files stay until they are let go.

    Raises:
        OSError: no space, or not allowed.
    """
    files = {path.name: (path.stat().st_size, _checksum(path)) for path in sorted(made.iterdir())}
    text = Manifest(basis=basis, files=files).model_dump_json()
    (made / _MANIFEST).write_text(text, encoding="utf-8")
    for path in made.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    made.chmod(0o755)
    for other in target.parent.iterdir():
        if other == target or (other != made and not _is_current(other, basis)):
            shutil.rmtree(other, ignore_errors=True)
    made.rename(target)


def _manifest(folder: Path) -> Manifest | None:
    try:
        return Manifest.model_validate_json((folder / _MANIFEST).read_bytes())
    except (OSError, ValidationError):
        return None


def _is_current(folder: Path, basis: str) -> bool:
    manifest = _manifest(folder)
    return manifest is not None and manifest.basis == basis


def _is_whole(folder: Path) -> bool:
    manifest = _manifest(folder)
    if manifest is None or not manifest.files:
        return False
    try:
        for name, (size, checksum) in manifest.files.items():
            path = folder / name
            if path.stat().st_size != size or _checksum(path) != checksum:
                return False
    except OSError:
        return False
    return True


def _checksum(path: Path) -> int:
    """CRC-32; ISA-L's runs at the speed of memory, and the pages that it reads are used next."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as content:
        return int(isal_zlib.crc32(content))
