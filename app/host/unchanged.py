# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Whether files are still those that were read before, without reading them again."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


class Fingerprint:
    """Of files that this process maps. Whoever writes to one changes what is mapped, too.

    The kernel sets the time of a change of the inode (ctime) by itself: nobody can set it back.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        """Take it; call this before the files are read."""
        self._paths = tuple(paths)
        self._seen = self._look()

    def holds(self) -> bool:
        """Whether no file was written to, cut off, replaced or removed since."""
        return self._seen is not None and self._seen == self._look()

    def _look(self) -> tuple[tuple[int, int, int, int], ...] | None:
        try:
            found = [path.stat() for path in self._paths]
        except OSError:
            return None
        return tuple(
            (each.st_size, each.st_mtime_ns, each.st_ctime_ns, each.st_ino) for each in found
        )
