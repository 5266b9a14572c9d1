# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Small files that several processes and threads write and read."""

from __future__ import annotations

import os
import threading
from pathlib import Path


def write_text(path: Path, text: str, durable: bool = False) -> None:
    """A reader sees the old content or the new one, never a half, whoever else writes.

    Args:
        path: the file.
        text: all that it will hold.
        durable: whether that shall be true after a power failure, too; takes its time.

    Raises:
        OSError: it cannot be written; the old content stays.
    """
    fresh = scratch(path)
    try:
        with fresh.open("w", encoding="utf-8") as file:
            file.write(text)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(fresh, path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise


def scratch(path: Path) -> Path:
    """A name beside a file that no other process or thread writes to."""
    return path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
