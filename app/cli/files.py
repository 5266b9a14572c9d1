# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The files that are to be worked on."""

from __future__ import annotations

import errno
import os
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from app.cli.left_out import is_kept_by_system
from app.cli.problems import UsageError, one_line
from app.errors import BadRequest
from app.pictures.kinds import HEAD, may_be_picture

# Of the formats that are read.
_SUFFIXES = re.compile(r"\.(jpe?g?|png|bmp|tiff?|webp|gif|avif|hei[cf])", re.IGNORECASE)


@dataclass(frozen=True)
class Photo:
    """A file, which may turn out not to be a photo."""

    #: as the user names it
    path: Path
    #: below the folder that was given, for an output tree of the same shape
    place: Path
    #: whether the user named the file itself, rather than a folder above it
    is_named: bool = False

    def open(self) -> BinaryIO:
        """Raises BadRequest: it cannot be opened, or reading it could take for ever."""
        try:
            if not self.path.is_file():
                raise BadRequest("It is not a file", title="Invalid image")
            return self.path.open("rb")
        except OSError as error:
            raise BadRequest(f"It cannot be read ({error.strerror})", title="No image") from None

    def is_named_like_picture(self) -> bool:
        """Whether its suffix is that of a format that is read."""
        return _SUFFIXES.fullmatch(self.path.suffix) is not None

    def may_be_picture(self) -> bool:
        """By its first bytes; also where it cannot be read, so that the attempt says why."""
        try:
            with self.open() as file:
                head = file.read(HEAD)
        except (BadRequest, OSError):
            return True
        # Nothing tells what an empty file was meant to be but its name.
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
    """What lies in the folders that were given."""

    #: each file once, sorted within a folder
    photos: list[Photo] = field(default_factory=list)
    #: folders that cannot be read
    failures: list[Failure] = field(default_factory=list)
    #: names of what was left out because a NAS or system keeps it, and how often each was met
    left_out: Counter[str] = field(default_factory=Counter)


def find(given: Sequence[Path], own: Collection[Path], everything: bool = False) -> Found:
    """Look for files; whether they are pictures is not asked here.

    Args:
        given: files and folders.
        own: files and folders that this program writes, which are no input.
        everything: take hidden names, and what a NAS or system keeps, too.

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
    """Through folders, each with all that is below it."""

    def __init__(self, own: set[str], everything: bool) -> None:
        self.own = own
        self._everything = everything
        #: by real path, so that a folder that is met twice is named once
        self.failures: dict[str, Failure] = {}
        self.left_out: Counter[str] = Counter()
        self._seen: set[str] = set()

    def files(self, top: Path) -> Iterator[Photo]:
        for folder, folders, names in os.walk(top, onerror=self._fail):
            real = os.path.realpath(folder)
            if not os.access(folder, os.X_OK):  # names without the files themselves
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
