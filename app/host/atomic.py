# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Atomic writes of files: others see the old content or the new one, never a part."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def write_text(path: Path, text: str, durable: bool = False) -> None:
    """Replace a file's content atomically: readers see the old content or the new one.

    Several threads and processes may write the same file; the last one wins.

    Args:
        path: the file.
        text: its new content, which is written as UTF-8.
        durable: whether the content must also survive a power failure (fsync, which is slow).

    Raises:
        OSError: the file cannot be written; the old content stays.
    """
    replace(path, scratch(path), text.encode(), durable)


def replace(path: Path, fresh: Path, content: bytes | memoryview, durable: bool) -> None:
    """Replace a file's content by way of the temporary file ``fresh``, as ``write_text`` does."""
    with writing(path, fresh, durable) as file:
        file.write(content)


@contextmanager
def writing(path: Path, fresh: Path, durable: bool = False) -> Iterator[BinaryIO]:
    """Replace a file's content by what the block writes to the temporary file ``fresh``.

    If the block raises an exception, the old content stays and the temporary file goes.

    Raises:
        OSError: the file cannot be written.
    """
    file = fresh.open("wb")
    try:
        with file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(fresh, path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def scratch(path: Path) -> Path:
    """A path for a temporary file in the folder of ``path``, unique to this process and thread."""
    return path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
