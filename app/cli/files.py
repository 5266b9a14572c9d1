# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Finds the files to process: walks through folders and leaves out files that are no pictures."""

from __future__ import annotations

import logging
import os
import sys
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from tqdm import tqdm

from app.cli.problems import Interrupted, UsageError
from app.cli.session import Stop
from app.library.folders import Failure, Photo, Walk, one_line

log = logging.getLogger("twinlens.cli")

# Reading from a NAS is slow, but many files can be read at the same time.
_THREADS = 16
_BATCH = 1024
_QUIET_SECONDS = 2
_MOST_NAMES = 8


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
    walk = Walk({os.path.realpath(path) for path in own}, everything)
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


def report_others(others: int, left_out: Counter[str], kind: str) -> None:
    """Say on the terminal what was left out because it is no ``kind``: a picture, or a film."""
    if others:
        text = f"{others} files are no {kind}s" if others > 1 else f"1 file is no {kind}"
        print(text, file=sys.stderr)
    if left_out:
        names = ", ".join(f"{name} ({count})" for name, count in left_out.most_common(_MOST_NAMES))
        more = ", ..." if len(left_out) > _MOST_NAMES else ""
        text = f"left out, as kept by a NAS or system: {names}{more}; --all takes them"
        print(one_line(text), file=sys.stderr)
