# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Writing so that an interruption leaves nothing half done."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from app.cli.files import Failure
from app.cli.problems import Failed, UsageError


def write(path: Path, fill: Callable[[BinaryIO], object]) -> None:
    """Write a file under another name and then give it its own. Raises OSError."""
    unfinished = path.with_name(f".{path.name}.partial")
    with unfinished.open("wb") as file:
        fill(file)
    os.replace(unfinished, path)


def lock(descriptor: int, name: Path) -> None:
    """Keep others away until this process ends. Raises UsageError: somebody else is at work."""
    with suppress(OSError):  # some network file systems know no locks
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"another run writes to {name}; wait for its end") from None


def list_failures(failures: Sequence[Failure], path: Path) -> None:
    """A line for each, or no file where there are none. Raises Failed."""
    text = "".join(f"{failure}\n" for failure in failures)
    try:
        if failures:
            write(path, lambda file: file.write(text.encode("utf-8", "backslashreplace")))
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise Failed(f"{path} cannot be written ({error.strerror})") from None
