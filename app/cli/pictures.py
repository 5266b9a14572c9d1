# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Which of the files are pictures, before a model is loaded for them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from tqdm import tqdm

from app.cli.files import Photo
from app.cli.jobs import Job
from app.cli.problems import Interrupted, one_line
from app.cli.session import Stop

log = logging.getLogger("twinlens.cli")

# Files of a NAS answer late, and none waits for another.
_THREADS = 16
_BATCH = 1024
_QUIET_SECONDS = 2


def pictures(photos: Sequence[Photo], job: Job, stop: Stop) -> list[Photo]:
    """Leave out what is no picture by its first bytes.

    Files that the user named stay, so that their error is told. Those that are done stay unread.

    Raises:
        Interrupted: the user did not want to wait for it.
    """

    def stays(photo: Photo) -> bool:
        return photo.is_named or job.is_done(photo) or photo.may_be_picture()

    found = []
    with (
        ThreadPoolExecutor(_THREADS) as pool,
        tqdm(
            total=len(photos), desc="looking", unit="file", delay=_QUIET_SECONDS, disable=None
        ) as bar,
    ):
        for start in range(0, len(photos), _BATCH):
            if stop.is_asked():
                raise Interrupted
            batch = photos[start : start + _BATCH]
            for photo, is_picture in zip(batch, pool.map(stays, batch), strict=True):
                if is_picture:
                    found.append(photo)
                else:
                    log.info("%s is no picture", one_line(photo.path))
            bar.update(len(batch))
    return found
