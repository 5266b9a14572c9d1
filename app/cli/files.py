# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The files that are to be worked on."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from app.cli.problems import UsageError, one_line
from app.errors import BadRequest


@dataclass(frozen=True)
class Photo:
    """A file, which may turn out not to be a photo."""

    #: as the user names it
    path: Path
    #: below the folder that was given, for an output tree of the same shape
    place: Path

    def open(self) -> BinaryIO:
        """Raises BadRequest: it cannot be opened, or reading it could take for ever."""
        try:
            if not self.path.is_file():
                raise BadRequest("It is not a file", title="Invalid image")
            return self.path.open("rb")
        except OSError as error:
            raise BadRequest(f"It cannot be read ({error.strerror})", title="No image") from None


@dataclass(frozen=True)
class Failure:
    """A file that failed, and why."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return one_line(f"{self.path}: {self.reason}")


def find(given: Sequence[Path], own: Collection[Path]) -> tuple[list[Photo], list[Failure]]:
    """Each file once, sorted within a folder, and the folders that cannot be read.

    Args:
        given: files and folders.
        own: files and folders that this program writes, which are no input.

    Raises:
        UsageError: a path does not exist, or is a folder that this program writes to.
    """
    leave_out = {os.path.realpath(path) for path in own}
    photos: dict[Path, Photo] = {}
    failures: list[Failure] = []
    for top in given:
        if not os.path.lexists(top):
            raise UsageError(f"{top} does not exist")
        is_folder = top.is_dir()
        if is_folder and os.path.realpath(top) in leave_out:
            raise UsageError(f"{top} cannot be both input and output")
        found = _walk(top, leave_out, failures) if is_folder else [Photo(top, Path(top.name))]
        for photo in found:
            photos.setdefault(photo.path, photo)
    return list(photos.values()), failures


def _walk(top: Path, leave_out: set[str], failures: list[Failure]) -> Iterator[Photo]:
    def note(error: OSError) -> None:
        failures.append(Failure(Path(error.filename), f"It cannot be read ({error.strerror})"))

    for folder, folders, names in os.walk(top, onerror=note):
        real = os.path.realpath(folder)

        def is_wanted(name: str, real: str = real) -> bool:
            return not name.startswith(".") and os.path.join(real, name) not in leave_out

        folders[:] = sorted(filter(is_wanted, folders))
        for name in sorted(filter(is_wanted, names)):
            path = Path(folder, name)
            yield Photo(path, path.relative_to(top))
