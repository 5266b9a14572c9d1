# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""How many files and connections a process may have open (``ulimit -n``)."""

from __future__ import annotations

import resource
from contextlib import suppress

# More than any service here needs; some libraries make tables of the size of the limit.
_ENOUGH = 65_536
# Of a worker at rest: libraries, models, pipes, logs, the shared state; measured: 60.
_AT_REST = 160
# Of a request under way: an upload on disk, an image that is fetched, an answer on disk.
_PER_THREAD = 3
# gunicorn wants more connections than threads.
_SPARE = 16


def raise_limit() -> int:
    """Raise the soft limit of this process, as far as the hard one allows; gives the new one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    wanted = _ENOUGH if hard == unlimited else min(hard, _ENOUGH)
    if soft != unlimited and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return _ENOUGH if soft == unlimited else soft


def connections(limit: int, threads: int, wanted: int) -> int:
    """How many connections a worker may have.

    Args:
        limit: descriptors of the process.
        threads: that serve requests.
        wanted: connections, where there are enough descriptors.
    """
    return max(threads + _SPARE, min(wanted, limit - _AT_REST - _PER_THREAD * threads))
