# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The cache of converted models on disk.

Each converted model is a folder beside its checkpoint. Its name is a hash of everything the model
was made from, so that another checkpoint or library version gets a new conversion. Each folder has
a manifest with sizes and checksums, and is published by a single rename.
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
    """The content of a converted model's ``manifest.json``."""

    #: the checkpoint and the library versions that the model was made from; a folder with another
    #: basis than the current one is out of date
    basis: str
    #: size in bytes and CRC-32 of each file, by name
    files: dict[str, tuple[int, int]]


def name_for(basis: str, variant: str) -> str:
    """The name of a converted model's folder; each variant of a basis has its own folder."""
    return _PREFIX + hashlib.sha256(f"{basis}\n{variant}".encode()).hexdigest()[:16]


def candidate_folders(repository: Path) -> list[Path]:
    """The folders that may hold a repository's converted models, in order of preference.

    The first lies beside the checkpoint, so that it is copied and deleted with it. The second lies
    in the user's own cache folder, for checkpoints in a folder that is not writable.
    """
    found = [repository / "twinlens"]
    with suppress(RuntimeError):  # no home folder: HOME is not set and the user id has no name
        home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
        found.append(home / "twinlens" / repository.name)
    return found


def find_converted(repository: Path, name: str) -> Path | None:
    """The folder of a converted model; None if there is none, or only a damaged one."""
    for place in candidate_folders(repository):
        if _is_whole(place / name):
            return place / name
    return None


def writable_folder(repository: Path) -> Path:
    """The first candidate folder that can be written, created if need be.

    Raises:
        OSError: no candidate folder can be written.
    """
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
    """Wait for an exclusive lock on a folder and hold it; yields the folder's descriptor."""
    lock = os.open(place, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock
    finally:
        os.close(lock)


def publish(made: Path, target: Path, basis: str) -> None:
    """Move a folder of new files to its final place in one step; the caller holds the lock.

    Removes an older folder of the same name, folders that are out of date, and unfinished folders
    of killed processes. Processes that use removed files are not disturbed, because a mapped file
    stays on disk until it is closed.

    Raises:
        OSError: the disk is full or not writable.
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
    """The CRC-32 of a file.

    ISA-L computes it as fast as memory can be read. Reading the file also brings it into the page
    cache, from which the model is then loaded.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as content:
        return int(isal_zlib.crc32(content))
