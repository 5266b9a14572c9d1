# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""One picture of a library, by a description that can be sent to another process or machine."""

from __future__ import annotations

import io
import tempfile
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from app.errors import BadRequest, TooLarge
from app.library import addresses
from app.library.folders import Photo
from app.remote.fetch import Fetcher

REMOTE_IS_OFF = "Pictures of web servers are turned off: set ALLOW_REMOTE_IMAGE_URLS=true"
#: of a picture that is not a file of this machine
MOST_BYTES = 2**28
_SPOOL_BYTES = 2**20
_CHUNK_BYTES = 2**20


@dataclass(frozen=True)
class Item:
    """A picture, or a file that may be one."""

    #: names the picture in all runs
    id: str
    #: where it is, as shown and written
    path: str

    @abstractmethod
    def open(self) -> BinaryIO:
        """The picture's bytes as a file, which the caller closes.

        Raises:
            TwinlensError: it cannot be read.
        """

    def may_be_picture(self) -> bool:
        """Whether processing it makes sense. Only a file that a walk through a folder found may be
        something else; everything else was meant by somebody, who wants to know why it failed.
        """
        return True


@dataclass(frozen=True)
class LocalFile(Item):
    """A file on this machine, or on a disk that all machines see."""

    #: the same as ``path``, but for names that are not UTF-8
    file: Path
    #: whether a walk found it, rather than a person or a manifest
    is_found: bool = False

    def open(self) -> BinaryIO:
        """See the base class."""
        return Photo(self.file, self.file).open()

    def may_be_picture(self) -> bool:
        """See the base class."""
        return not self.is_found or Photo(self.file, self.file).may_be_picture()


@dataclass(frozen=True)
class Stored(Item):
    """A file in an object store, or in another place that fsspec opens."""

    address: str

    def open(self) -> BinaryIO:
        """See the base class."""
        with addresses.reading():
            system, path = addresses.system(self.address)
            if addresses.scheme(self.address) in ("file", "local"):
                return Photo(Path(path), Path(path)).open()  # never a pipe
            with system.open(path, "rb") as file:
                return copied(file)


@dataclass(frozen=True)
class Remote(Item):
    """A picture on a web server."""

    url: str
    #: None: ALLOW_REMOTE_IMAGE_URLS is off
    fetcher: Fetcher | None

    def open(self) -> BinaryIO:
        """See the base class."""
        if self.fetcher is None:
            raise BadRequest(REMOTE_IS_OFF, title="URL refused")
        return self.fetcher.fetch(self.url)


@dataclass(frozen=True)
class Member(Item):
    """A file within a tar file, by its place there."""

    archive: str
    #: bytes from the start of the tar file to those of the picture
    offset: int
    size: int

    def open(self) -> BinaryIO:
        """See the base class."""
        if self.size > MOST_BYTES:
            raise _too_large()
        with addresses.reading():
            system, path = addresses.system(self.archive)
            end = self.offset + self.size
            return io.BytesIO(system.cat_file(path, start=self.offset, end=end))


@dataclass(frozen=True)
class Bytes(Item):
    """A picture whose bytes stand in the manifest itself."""

    content: bytes

    def open(self) -> BinaryIO:
        """See the base class."""
        return io.BytesIO(self.content)


@dataclass(frozen=True)
class Broken(Item):
    """A row of a manifest that names no picture."""

    reason: str

    def open(self) -> BinaryIO:
        """See the base class."""
        raise BadRequest(self.reason, title="No image")


def copied(file: BinaryIO) -> BinaryIO:
    """A copy that can be read at any place: in memory, or on disk above 1 MiB.

    Raises:
        TooLarge: it has more than ``MOST_BYTES``.
    """
    copy = cast(BinaryIO, tempfile.SpooledTemporaryFile(_SPOOL_BYTES))  # noqa: SIM115
    try:
        while chunk := file.read(_CHUNK_BYTES):
            if copy.tell() + len(chunk) > MOST_BYTES:
                raise _too_large()
            copy.write(chunk)
    except BaseException:
        copy.close()
        raise
    copy.seek(0)
    return copy


def _too_large() -> TooLarge:
    return TooLarge(f"It has more than {MOST_BYTES >> 20} MiB")
