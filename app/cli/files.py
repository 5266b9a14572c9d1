# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Finds the files to process: walks through folders and leaves out files that are no pictures."""

from __future__ import annotations

import errno
import logging
import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from tqdm import tqdm

from app.cli.problems import Interrupted, UsageError
from app.cli.session import Stop
from app.errors import BadRequest
from app.pictures.kinds import HEAD, may_be_picture

log = logging.getLogger("twinlens.cli")

# Suffixes of the image formats that can be read.
_SUFFIXES = re.compile(r"\.(jpe?g?|png|bmp|tiff?|webp|gif|avif|hei[cf])", re.IGNORECASE)
# Reading from a NAS is slow, but many files can be read at the same time.
_THREADS = 16
_BATCH = 1024
_QUIET_SECONDS = 2
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
        return _SUFFIXES.fullmatch(self.path.suffix) is not None

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

    path: Path
    reason: str

    def __str__(self) -> str:
        return one_line(f"{self.path}: {self.reason}")


@dataclass
class Found:
    """What was found in the given folders."""

    #: each file once; the files of one folder are sorted
    photos: list[Photo] = field(default_factory=list)
    #: folders that cannot be read
    failures: list[Failure] = field(default_factory=list)
    #: names left out because a NAS or system keeps them, and how often each occurred
    left_out: Counter[str] = field(default_factory=Counter)


def find_files(given: Sequence[Path], own: Collection[Path], everything: bool = False) -> Found:
    """Find all files to process; ``only_pictures`` then leaves out those that are no pictures.

    Args:
        given: files and folders.
        own: files and folders that this command writes, which must not become its input.
        everything: include hidden names, and what a NAS or system keeps.

    Raises:
        UsageError: a path does not exist, or is a folder that this program writes to.
    """
    walk = _Walk({os.path.realpath(path) for path in own}, everything)
    photos: dict[Path, Photo] = {}
    for top in given:
        if not os.path.lexists(top):
            raise UsageError(f"{top} does not exist")
        is_folder = top.is_dir()
        if is_folder and os.path.realpath(top) in walk.own:
            raise UsageError(f"{top} cannot be both input and output")
        if is_folder:
            for photo in walk.files(top):
                photos.setdefault(photo.path, photo)
        else:
            known = photos.get(top, Photo(top, Path(top.name)))
            photos[top] = replace(known, is_named=True)
    return Found(list(photos.values()), list(walk.failures.values()), walk.left_out)


class _Walk:
    """Walks through folders and all their subfolders."""

    def __init__(self, own: set[str], everything: bool) -> None:
        self.own = own
        self._everything = everything
        #: keyed by real path, so that a folder that is visited twice is reported once
        self.failures: dict[str, Failure] = {}
        self.left_out: Counter[str] = Counter()
        self._seen: set[str] = set()

    def files(self, top: Path) -> Iterator[Photo]:
        for folder, folders, names in os.walk(top, onerror=self._fail):
            real = os.path.realpath(folder)
            if not os.access(folder, os.X_OK):  # names can be listed, but files not opened
                self._fail(PermissionError(errno.EACCES, os.strerror(errno.EACCES), folder))
                folders.clear()
                continue
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
        return not name.startswith(".")

    def _fail(self, error: OSError) -> None:
        failure = Failure(Path(error.filename), f"It cannot be read ({error.strerror})")
        self.failures.setdefault(os.path.realpath(error.filename), failure)


def only_pictures(
    photos: Sequence[Photo], is_done: Callable[[Photo], bool], stop: Stop
) -> list[Photo]:
    """Leave out the files whose first bytes are not those of a picture.

    Keeps files that the user named, so that their errors are reported, and files for which
    ``is_done`` is true, without reading them.

    Raises:
        Interrupted: the user asked to stop.
    """

    def stays(photo: Photo) -> bool:
        return photo.is_named or is_done(photo) or photo.may_be_picture()

    found = []
    with (
        ThreadPoolExecutor(_THREADS) as pool,
        tqdm(
            total=len(photos), desc="looking", unit="file", delay=_QUIET_SECONDS, disable=None
        ) as bar,
    ):
        for start in range(0, len(photos), _BATCH):
            if stop.is_requested():
                raise Interrupted
            batch = photos[start : start + _BATCH]
            for photo, is_picture in zip(batch, pool.map(stays, batch), strict=True):
                if is_picture:
                    found.append(photo)
                else:
                    log.info("%s is no picture", one_line(photo.path))
            bar.update(len(batch))
    return found


def is_kept_by_system(name: str) -> bool:
    """Whether a NAS or an operating system uses this name for its own files."""
    return name.casefold() in _NAMES or _PATTERNS.fullmatch(name) is not None


def one_line(text: object) -> str:
    """A path or message on one line: line breaks and other unprintable characters are escaped."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in str(text)
    )
