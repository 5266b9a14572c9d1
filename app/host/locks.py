# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Locked files, which show other processes that something is in use."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import TextIO


def locked(path: Path) -> TextIO | None:
    """Open and lock a file, which is made if need be; None if another process has locked it.

    The lock lasts until all processes that inherit the file have closed it or ended.

    Raises:
        OSError: the file cannot be opened.
    """
    file = path.open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file
