# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Patterns of paths, such as ``photos/**/*.jpg``, with the meaning that they have in Python's glob.

They are matched during a walk rather than by glob itself, which leaves out folders that cannot be
read without a word, and follows linked folders, also in circles.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from pathlib import Path

_SPECIAL = re.compile(r"[*?\[]")
_ANY_FOLDERS = "**"


def is_pattern(source: str) -> bool:
    """Whether a source has characters that stand for others."""
    return _SPECIAL.search(source) is not None


def written(source: str) -> str:
    """The folder that a pattern names in full, before the first part with such a character; empty
    if that is the current folder.
    """
    return "".join(_SPECIAL.split(source, maxsplit=1)[0].rpartition("/")[:2])


class Pattern:
    """A pattern of files of this machine."""

    def __init__(self, source: str, everything: bool) -> None:
        """Read a pattern.

        Args:
            source: the pattern.
            everything: whether ``*`` and the like also stand for hidden names.
        """
        #: the folder that is written in full
        self.top = Path(written(source))
        below = Path(source).parts[len(self.top.parts) :]
        # A slash at the end says that folders are meant, and no file has an empty name.
        self._parts = (*below, "") if source.endswith("/") else below
        self._everything = everything

    def leads_below(self, place: Path) -> bool:
        """Whether files below a folder may match; ``place`` is relative to ``top``."""
        return any(at < len(self._parts) for at in self._after(place))

    def matches(self, place: Path) -> bool:
        """Whether a file matches; ``place`` is relative to ``top``."""
        return len(self._parts) in self._after(place)

    def _after(self, place: Path) -> set[int]:
        """How many parts of the pattern may stand for a path, which is one way or several."""
        found = self._with_none({0})
        for name in place.parts:
            found = self._with_none(
                {
                    at + (self._parts[at] != _ANY_FOLDERS)
                    for at in found
                    if at < len(self._parts) and self._stands_for(self._parts[at], name)
                }
            )
        return found

    def _with_none(self, found: set[int]) -> set[int]:
        """Add the ways in which ``**`` stands for no folder."""
        for at, part in enumerate(self._parts):
            if at in found and part == _ANY_FOLDERS:
                found.add(at + 1)
        return found

    def _stands_for(self, part: str, name: str) -> bool:
        if name.startswith(".") and not part.startswith(".") and not self._everything:
            return False
        return fnmatchcase(name, part)
