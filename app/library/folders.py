# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Walks through folders of photos, and leaves out what a NAS or an operating system keeps."""

from __future__ import annotations

import errno
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from app.errors import BadRequest
from app.library.patterns import Pattern
from app.pictures.kinds import HEAD, may_be_picture

# Suffixes of the image formats that can be read.
_SUFFIXES = re.compile(r"\.(jpe?g?|png|bmp|tiff?|webp|gif|avif|hei[cf])", re.IGNORECASE)
# Names of files and folders that hold thumbnails, trash, snapshots and the like. They are compared
# without regard to case, because network shares often change it.
_NAMES = frozenset(
    name.casefold()
    for name in (
        # Synology
        "@eaDir",
        "#recycle",
        "#snapshot",
        "@sharesnap",
        "@tmp",
        "@SynoResource",
        # QNAP
        ".@__thumb",
        "@__thumb",
        "@Recycle",
        "@Recently-Snapshot",
        "@Transcode",
        # Windows
        "Thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
        "$RECYCLE.BIN",
        "RECYCLER",
        "System Volume Information",
        # macOS, also on shares of other systems
        ".DS_Store",
        "__MACOSX",
        ".AppleDouble",
        ".AppleDB",
        ".AppleDesktop",
        ".Spotlight-V100",
        ".fseventsd",
        ".TemporaryItems",
        "Network Trash Folder",
        "Temporary Items",
        # Linux and file servers
        "lost+found",
        ".recycle",
        ".thumbnails",
        ".snapshot",
        ".snapshots",
        "~snapshot",
        ".zfs",
        ".stfolder",
        ".stversions",
    )
)
_PATTERNS = re.compile(
    r"\._.*"  # macOS: where a file system cannot store a file's attributes, they are kept here
    r"|\.Trash.*"
    r"|found\.\d{3}"  # Windows: fragments that a disk check has found
    r"|.*@Syno(EAStream|Resource)",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True)
class Photo:
    """A file to process, which may turn out not to be a photo."""

    #: the path as the user gave it, or below a folder that the user gave
    path: Path
    #: the path relative to that folder; the output gets the same tree of folders
    place: Path
    #: whether the user named the file itself, rather than a folder above it
    is_named: bool = False

    def open(self) -> BinaryIO:
        """Open the file.

        Raises:
            BadRequest: it cannot be opened or is no regular file; reading a pipe might never end.
        """
        try:
            if not self.path.is_file():
                raise BadRequest("It is not a file", title="Invalid image")
            return self.path.open("rb")
        except OSError as error:
            raise BadRequest(f"It cannot be read ({error.strerror})", title="No image") from None

    def is_named_like_picture(self) -> bool:
        """Whether the suffix is that of a supported image format."""
        return is_named_like_picture(self.path.name)

    def may_be_picture(self) -> bool:
        """Whether the first bytes are those of a picture.

        Also true for a file that cannot be read, so that processing it reports the error.
        """
        try:
            with self.open() as file:
                head = file.read(HEAD)
        except (BadRequest, OSError):
            return True
        # An empty file is judged by its name.
        return may_be_picture(head) if head else self.is_named_like_picture()


@dataclass(frozen=True)
class Failure:
    """A file that failed, and why."""

    path: Path | str
    reason: str

    def __str__(self) -> str:
        return one_line(f"{self.path}: {self.reason}")


class Walk:
    """Walks through folders and all their subfolders, but not through linked ones."""

    def __init__(self, own: set[str], everything: bool, pattern: Pattern | None = None) -> None:
        """Prepare a walk.

        Args:
            own: real paths that are left out, with all that is below them.
            everything: include hidden names, and what a NAS or system keeps.
            pattern: that paths below the folder have to match; it decides about hidden names.
        """
        self.own = own
        self._everything = everything
        self._pattern = pattern
        #: keyed by real path, so that a folder that is visited twice is reported once
        self.failures: dict[str, Failure] = {}
        self.left_out: Counter[str] = Counter()
        self._seen: set[str] = set()

    def files(self, top: Path) -> Iterator[Photo]:
        """The files below a folder, each folder's sorted."""
        for folder, folders, names in os.walk(top, onerror=self._fail):
            real = os.path.realpath(folder)
            if not os.access(folder, os.X_OK):  # names can be listed, but files not opened
                self._fail(PermissionError(errno.EACCES, os.strerror(errno.EACCES), folder))
                folders.clear()
                continue
            if pattern := self._pattern:
                place = Path(folder).relative_to(top)
                folders[:] = [each for each in folders if pattern.leads_below(place / each)]
                names = [each for each in names if pattern.matches(place / each)]
            folders[:] = self._wanted(folders, real)
            for name in self._wanted(names, real):
                path = Path(folder, name)
                yield Photo(path, path.relative_to(top))

    def _wanted(self, names: Sequence[str], folder: str) -> list[str]:
        return sorted(name for name in names if self._is_wanted(name, os.path.join(folder, name)))

    def _is_wanted(self, name: str, path: str) -> bool:
        if path in self.own:
            return False
        if self._everything:
            return True
        if is_kept_by_system(name):
            if path not in self._seen:
                self._seen.add(path)
                self.left_out[name] += 1
            return False
        return self._pattern is not None or not name.startswith(".")

    def _fail(self, error: OSError) -> None:
        failure = Failure(Path(error.filename), f"It cannot be read ({error.strerror})")
        self.failures.setdefault(os.path.realpath(error.filename), failure)


def is_named_like_picture(name: str) -> bool:
    """Whether the suffix is that of an image format that can be read."""
    return _SUFFIXES.fullmatch(PurePosixPath(name).suffix) is not None


def is_kept_by_system(name: str) -> bool:
    """Whether a NAS or an operating system uses this name for its own files."""
    return name.casefold() in _NAMES or _PATTERNS.fullmatch(name) is not None


def one_line(text: object) -> str:
    """A path or message on one line: line breaks and other unprintable characters are escaped."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in str(text)
    )
