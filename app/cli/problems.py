# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""What ends a run before its end."""

from __future__ import annotations


class UsageError(Exception):
    """It was called in a way that cannot work; nothing was done. Exit status 2."""


class Failed(Exception):
    """It cannot go on; what is done so far stays. Exit status 1."""


class Interrupted(Exception):
    """The user does not want to wait any longer. Exit status 130, or 143 after SIGTERM."""


def one_line(text: object) -> str:
    """A path or message on one line, whatever characters a file's name has."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in str(text)
    )
