# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""When the progress of a download is worth a line of the log."""

from __future__ import annotations

import time

_SECONDS = 60.0
_MB = 1e6


class Milestones:
    """After each further tenth, and at least once a minute while bytes arrive."""

    def __init__(self) -> None:
        self._tenth = 0
        self._told_at = time.monotonic()

    def line(self, done: int, total: int) -> str | None:
        """How far it is, as "450 of 1710 MB (26 %)"; None where there is nothing new to say.

        Args:
            done: bytes that are there.
            total: bytes of the whole; 0 while that is not known.
        """
        if not total or done >= total:  # its end is told anyway
            return None
        now, tenth = time.monotonic(), 10 * done // total
        if tenth <= self._tenth and now - self._told_at < _SECONDS:
            return None
        self._tenth, self._told_at = tenth, now
        return f"{done / _MB:.0f} of {total / _MB:.0f} MB ({100 * done // total} %)"
