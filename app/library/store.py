# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""A folder to write to: on this machine or in an object store. A file is there whole or not."""

from __future__ import annotations

import errno
import os
import posixpath
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO, cast

from app.errors import BadRequest
from app.host.atomic import replace
from app.library import addresses

_UNFINISHED = ".partial"
# File systems take names of 255 bytes, of which a file's unfinished name needs a few more.
_MOST_BYTES = 240
# Of files that ``write`` is writing. The random part keeps machines apart that write the same file
# at the same time; file systems take names of 255 bytes, so only the beginning of the file's own
# name is in it.
_BEGINNING = 40
_FRESH = re.compile(rf"\..{{1,{_BEGINNING}}}\.[0-9a-f]{{16}}\{_UNFINISHED}", re.DOTALL)
# A file that was not written to for so long is not being written any more.
_DEAD_SECONDS = 3600


class Store:
    """A folder by its address, which need not exist yet.

    All methods raise OSError if the folder cannot be read or written.
    """

    def __init__(self, address: str) -> None:
        """Find the file system. Raises BadRequest if there is none that can be written."""
        if addresses.is_web(address):
            raise BadRequest(f"-o {address}: nothing can be written to a web server")
        self.address = address.rstrip("/") or "/"
        self._system, self._top = addresses.system(self.address)
        #: the folder; None in an object store
        self.folder = Path(address) if addresses.is_local(address) else None

    def names(self) -> list[str]:
        """Names of the files directly in the folder, sorted; none if it does not exist."""
        self._system.invalidate_cache()
        try:
            with _os_errors():
                found = self._system.ls(self._top, detail=True)
        except FileNotFoundError:
            return []
        names = [posixpath.basename(each["name"]) for each in found if each["type"] == "file"]
        return sorted(name for name in names if name and not name.startswith("."))

    def exists(self, name: str) -> bool:
        """Whether there is a file of this name, which may have folders in it."""
        with _os_errors():
            return bool(self._system.isfile(self._path(name)))

    def open(self, name: str) -> BinaryIO:
        """Open a file to read it at any place."""
        with _os_errors():
            return cast(BinaryIO, self._system.open(self._path(name), "rb"))

    def sweep(self, prefix: str) -> None:
        """Delete unfinished files that a killed run has left, of names that begin like this."""
        for path in self.folder.glob(f".{prefix}*{_UNFINISHED}") if self.folder else ():
            path.unlink(missing_ok=True)

    def sweep_old(self) -> None:
        """Delete unfinished files, here and in all folders below, that killed runs have left.

        Those that another machine may still be writing stay.
        """
        alive = time.time() - _DEAD_SECONDS
        for folder, _, names in os.walk(self.folder) if self.folder else ():
            for path in (Path(folder, name) for name in names if _FRESH.fullmatch(name)):
                with suppress(OSError):  # another machine was faster, or may not
                    if path.stat().st_mtime < alive:
                        path.unlink()

    def write(self, name: str, content: bytes | memoryview, *, durable: bool = True) -> None:
        """Write a file, or replace it. Of machines that write the same file at the same time, the
        last one wins.

        Args:
            name: of the file; it may have folders in it.
            content: of the file.
            durable: whether it, and its name, have to survive a power failure, which takes time.
        """
        if self.folder is None:
            # Stores show an object when all of it has arrived.
            with _os_errors():
                self._system.pipe_file(self._path(name), bytes(content))
            return
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = f".{path.name[:_BEGINNING]}.{secrets.token_hex(8)}{_UNFINISHED}"
        replace(path, path.with_name(fresh), content, durable)
        if durable:
            _sync(path.parent)

    def put(self, file: Path, name: str) -> None:
        """Move a file of this machine here; it has to be in the same folder if that is local.

        It is on disk when this returns, so that the files that it replaces may be deleted.
        """
        if self.folder is None:
            with _os_errors():
                self._system.put_file(str(file), self._path(name))
            file.unlink()
        else:
            with file.open("rb") as written:
                os.fsync(written.fileno())
            os.replace(file, self.folder / name)
            _sync(self.folder)

    def remove(self, name: str) -> None:
        """Delete a file, if it is still there."""
        with suppress(FileNotFoundError), _os_errors():
            self._system.rm_file(self._path(name))

    def remove_folder(self) -> None:
        """Delete the folder if it is empty and on this machine; stores have no empty ones."""
        if self.folder is not None:
            with suppress(OSError):
                self.folder.rmdir()

    def _path(self, name: str) -> str:
        return posixpath.join(self._top, name)


def unfinished(path: Path) -> Path:
    """The name of a file of this machine while the only process that may is writing it."""
    name = path.name
    if len(os.fsencode(name)) > _MOST_BYTES:
        name = blake2b(os.fsencode(name), digest_size=16).hexdigest()
    return path.with_name(f".{name}{_UNFINISHED}")


def _sync(folder: Path) -> None:
    """Have the names in a folder on disk."""
    with suppress(OSError):  # some network file systems cannot
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _os_errors() -> Iterator[None]:
    """Turn the exceptions that are a store's own into an OSError that says why."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(errno.EIO, addresses.reason(error)) from error
