# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""A folder to write to: on this machine or in an object store. A file is there whole or not."""

from __future__ import annotations

import errno
import os
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, cast

from app.errors import BadRequest
from app.host.atomic import replace
from app.library import addresses

_UNFINISHED = ".partial"


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

    def write(self, name: str, content: bytes | memoryview, *, durable: bool = True) -> None:
        """Write a file, or replace it.

        Args:
            name: of the file; it may have folders in it.
            content: of the file.
            durable: whether it has to survive a power failure, which takes time.
        """
        if self.folder is None:
            # Stores show an object when all of it has arrived.
            with _os_errors():
                self._system.pipe_file(self._path(name), bytes(content))
            return
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        replace(path, unfinished(path), content, durable)

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
    """The name of a file of this machine while it is written."""
    return path.with_name(f".{path.name}{_UNFINISHED}")


@contextmanager
def _os_errors() -> Iterator[None]:
    """Turn the exceptions that are a store's own into an OSError that says why."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(errno.EIO, addresses.reason(error)) from error
