# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Limits on open files and connections of a process (``ulimit -n``)."""

from __future__ import annotations

import resource
from contextlib import suppress

# The limit is not set higher, because some libraries allocate tables of its size.
_MAX_LIMIT = 65_536
# Descriptors of an idle worker: libraries, models, pipes, logs, shared state. Measured: 60.
_AT_REST = 160
# Descriptors of a request in progress: an upload on disk, a fetched image, an answer on disk.
_PER_THREAD = 3
# There are at least this many more connections than threads, because gunicorn needs some more.
_SPARE = 16


def raise_limit() -> int:
    """Raise this process's soft limit to 65,536 or the hard limit. Returns the new soft limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    wanted = _MAX_LIMIT if hard == unlimited else min(hard, _MAX_LIMIT)
    if soft != unlimited and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return _MAX_LIMIT if soft == unlimited else soft


def connections(limit: int, threads: int, wanted: int) -> int:
    """How many connections a worker accepts.

    Args:
        limit: descriptors that the process may open.
        threads: threads that serve requests.
        wanted: the result if there are enough descriptors.
    """
    return max(threads + _SPARE, min(wanted, limit - _AT_REST - _PER_THREAD * threads))
