# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Temporary folders that are removed also if the process that made them was killed."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from app.host.locks import locked

_PREFIX = "twinlens-"
# Folders of other services are not removed before they are this old.
_MIN_AGE_SECONDS = 60.0


class TemporaryFolder:
    """A new folder, which the process that made it removes: at its own end or a ``with`` block's.

    If that process and all that it has forked were killed, the next process that makes such a
    folder in the same place removes this one, and so does ``remove_leftovers``. It is not a
    ``TemporaryDirectory``, because each worker would inherit the master's and remove the folder
    when the worker ends.

    Args:
        parent: where it is made; None: the system's folder for temporary files.
        kind: a word for its name; "" if a service has only one such folder in ``parent``.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, parent: str | None = None, kind: str = "") -> None:
        prefix = f"{_PREFIX}{kind}-" if kind else _PREFIX
        self.path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        #: pid of the process that removes it
        self.owner = os.getpid()
        # Processes that are forked inherit this lock, so it lasts as long as any of them.
        try:
            self._alive = locked(self.path / "alive")
        except OSError:
            shutil.rmtree(self.path, ignore_errors=True)
            raise
        remove_leftovers(self.path.parent)
        atexit.register(self.remove)

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *_: object) -> None:
        self.remove()

    def remove(self) -> None:
        """Remove it with all that is in it, if this process has made it."""
        if os.getpid() == self.owner:
            if self._alive:
                self._alive.close()
            shutil.rmtree(self.path, ignore_errors=True)
            atexit.unregister(self.remove)


def remove_leftovers(parent: Path) -> None:
    """Remove the folders whose processes were all killed."""
    for file in parent.glob(f"{_PREFIX}*/alive"):
        with suppress(OSError):
            if file.parent.lstat().st_uid != os.getuid():
                continue  # in /tmp anybody may have made it
            # The owner of a new file may not have locked it yet.
            old = time.time() - file.stat().st_mtime > _MIN_AGE_SECONDS
            if old and (lock := locked(file)):
                shutil.rmtree(file.parent, ignore_errors=True)
                lock.close()
