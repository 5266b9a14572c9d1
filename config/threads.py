# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""How many request threads a worker has, and the limits that depend on that number."""

from __future__ import annotations

#: Requests of one worker that may wait for a download at the same time. Each holds a thread,
#: perhaps for hours, so there must be fewer of them than threads outside the waiting room.
MAX_DOWNLOAD_WAITS = 4
#: Models of one worker that may be added at the same time. Each holds a thread for some seconds.
MAX_ADDITIONS = 2
#: Results of jobs that one worker may send at the same time. Each holds a thread, perhaps for
#: hours, because it may be followed while it is made.
MAX_JOB_RESULTS = 8
# Threads for requests that neither wait for a download nor have a place in the waiting room.
_OTHER_THREADS = 12
# This many of the threads outside the waiting room may read a body; the rest serve health probes.
_OTHER_BODIES = 8


def request_threads(concurrency: int, max_queue: int, films: int) -> int:
    """Threads that a worker needs, so that no request has to wait for a free thread.

    Args:
        concurrency: inferences that run at the same time.
        max_queue: requests that may wait in the waiting room. Each of them holds a thread.
        films: films that are made at the same time. Each of them holds a thread to its end.
    """
    inferences = concurrency + max_queue
    video = films + max_film_bodies(films)
    others = MAX_DOWNLOAD_WAITS + MAX_ADDITIONS + MAX_JOB_RESULTS + _OTHER_THREADS
    return inferences + video + others


def max_bodies(concurrency: int, max_queue: int) -> int:
    """Bodies that a worker may hold at the same time; for the arguments see ``request_threads``.

    Films are not counted.
    """
    return concurrency + max_queue + _OTHER_BODIES


def max_film_bodies(films: int) -> int:
    """Films that a worker may receive, or hold until the first bytes of their answers are made.

    Args:
        films: films that are made at the same time.
    """
    return 2 * films
