# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""What the processes of one service share: numbers in memory, small files, a lock, a bell.

The master makes the board before the fork. Each worker has a slot: a row of numbers that only it
writes, and a report (a JSON file). The master clears the slot of a worker that ended, however it
ended, so the figures of a crashed one vanish.
"""

from __future__ import annotations

import atexit
import fcntl
import mmap
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

#: Of one worker: what it holds at this moment.
Figure = Literal["connections", "in_flight", "waiting", "held_bytes"]
#: Of the service.
Flag = Literal["stopping", "ready"]

# Old and new workers stand side by side during a reload, also during several.
_SLOTS = 1024
_ROW = np.dtype(
    [
        ("pid", "i8"),
        ("connections", "i8"),
        ("in_flight", "i8"),
        ("waiting", "i8"),
        ("held_bytes", "i8"),
        ("request_seconds", "f8"),
    ]
)
_FLAGS = np.dtype([("stopping", "i8"), ("ready", "i8")])


class Closeable(Protocol):
    """Files and sockets."""

    def close(self) -> None:
        """Close it."""


class Board:
    """Made once in the master, whose slot is 0; all others belong to workers."""

    def __init__(self) -> None:
        # Shared memory is there and writable also where the root file system is read-only, and
        # nobody tidies it up. Not a TemporaryDirectory object: that would remove the folder when
        # the first worker ends.
        shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
        self.folder = Path(tempfile.mkdtemp(prefix="twinlens-", dir=shared))
        self._owner = os.getpid()
        atexit.register(self.close)
        # An anonymous map is shared with children. Numbers of 8 bytes are written at once.
        memory = mmap.mmap(-1, _FLAGS.itemsize + _SLOTS * _ROW.itemsize)
        self._flags: NDArray[Any] = np.frombuffer(memory, _FLAGS, count=1)
        self._rows: NDArray[Any] = np.frombuffer(memory, _ROW, offset=_FLAGS.itemsize)
        # Held open by every process of the service: who reads from it learns when the last is gone.
        self.life = os.pipe()
        self.slot = 0
        self._claimed = 0
        self._open: list[Closeable] = []
        self.join()

    # -- life ----------------------------------------------------------------------------------

    def claim(self) -> None:
        """In the master, just before a fork: the slot of the next worker."""
        taken = self._rows["pid"][1:]
        self._claimed = 1 + int(np.flatnonzero(taken == 0)[0])

    def join(self) -> None:
        """In the new process, before it has threads: take the slot."""
        for mine in self._open:
            mine.close()  # the parent's, inherited
        self.slot = self._claimed
        self._clear(self.slot)
        self._rows["pid"][self.slot] = os.getpid()
        self._threads = threading.Lock()
        # A lock of its own open file: one that was inherited would be shared with the parent.
        self._file = (self.folder / "board.lock").open("w")
        self._bell = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._bell.bind(str(self._bell_path(self.slot)))
        self._ringer = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._ringer.setblocking(False)
        self._open = [self._file, self._bell, self._ringer]

    def release(self, pid: int) -> None:
        """In the master: a worker has ended."""
        for slot in np.flatnonzero(self._rows["pid"] == pid):
            self._clear(int(slot))

    def close(self) -> None:
        """The process ends; the one that made the board removes its folder."""
        while self._open:
            self._open.pop().close()
        if os.getpid() == self._owner:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _clear(self, slot: int) -> None:
        self._rows[slot] = 0
        self._bell_path(slot).unlink(missing_ok=True)
        self.report_path(slot).unlink(missing_ok=True)

    # -- numbers -------------------------------------------------------------------------------

    def workers(self) -> list[int]:
        """The slots of the living workers; in a process without workers its own."""
        slots = [int(slot) for slot in np.flatnonzero(self._rows["pid"])]
        return [slot for slot in slots if slot] or slots

    def pid(self, slot: int) -> int:
        """The process that has a slot."""
        return int(self._rows["pid"][slot])

    def set(self, figure: Figure, value: int) -> None:
        """Publish a figure of this worker."""
        self._rows[figure][self.slot] = value

    def get(self, figure: Figure) -> int:
        """A figure of this worker."""
        return int(self._rows[figure][self.slot])

    def total(self, figure: Figure) -> int:
        """The sum over all workers."""
        return int(self._rows[figure].sum())

    def raise_flag(self, flag: Flag) -> None:
        """For all to see, for good."""
        self._flags[flag][0] = 1

    def flag(self, flag: Flag) -> bool:
        """Whether it was raised."""
        return bool(self._flags[flag][0])

    def request_seconds(self) -> float:
        """How long the device of this worker takes for a request; 0 as long as nobody knows."""
        return float(self._rows["request_seconds"][self.slot])

    def set_request_seconds(self, seconds: float) -> None:
        """Publish it."""
        self._rows["request_seconds"][self.slot] = seconds

    def requests_per_second(self) -> float:
        """What all workers together get done when they are busy; 0 as long as nobody knows."""
        seconds = self._rows["request_seconds"]
        return float((1 / seconds[seconds > 0]).sum())

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Alone among all threads of all workers; the kernel opens the lock of one that dies."""
        with self._threads:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)

    # -- bell and reports ----------------------------------------------------------------------

    def ring(self) -> None:
        """Wake all workers: there is something new to read."""
        for slot in self.workers():
            # One that is just gone needs no waking, nor one whose bell rings already.
            with suppress(OSError):
                self._ringer.sendto(b"!", str(self._bell_path(slot)))

    def wait_for_bell(self, seconds: float) -> None:
        """Until it rings, at most so long."""
        self._bell.settimeout(seconds)
        with suppress(TimeoutError):
            self._bell.recv(16)

    def report_path(self, slot: int) -> Path:
        """Where a worker's report lies."""
        return self.folder / f"report-{slot}.json"

    def _bell_path(self, slot: int) -> Path:
        return self.folder / f"bell-{slot}"
