# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Detects changes of files since they were read, without reading them again."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


class Fingerprint:
    """Sizes, times and inodes of files that this process maps into its memory.

    A write to a mapped file changes the mapped memory, too, so the process has to notice it. The
    change time (ctime) is included because, unlike mtime, programs cannot set it.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        """Take the fingerprint. Call this before the files are read."""
        self._paths = tuple(paths)
        self._at_start = self._stat_all()

    def holds(self) -> bool:
        """Whether no file was written, truncated, replaced or removed since."""
        return self._at_start is not None and self._at_start == self._stat_all()

    def _stat_all(self) -> tuple[tuple[int, int, int, int], ...] | None:
        try:
            found = [path.stat() for path in self._paths]
        except OSError:
            return None
        return tuple(
            (each.st_size, each.st_mtime_ns, each.st_ctime_ns, each.st_ino) for each in found
        )
