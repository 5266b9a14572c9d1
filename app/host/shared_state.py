# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""What the processes of one service share: numbers in memory, small files, a lock, a bell.

The master makes it before the fork. Each worker has a slot: a row of numbers that only it
writes, and a report (a JSON file). The master clears the slot of a worker that ended, however it
ended, so the figures of a crashed one vanish.
"""

from __future__ import annotations

import atexit
import fcntl
import mmap
import os
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, Protocol, TextIO

import numpy as np
from numpy.typing import NDArray

#: Of one worker: what it holds at this moment.
Figure = Literal["up", "leaving", "connections", "in_flight", "waiting", "held_bytes"]
#: Of the service.
Flag = Literal["stopping", "ready"]

# Old and new workers stand side by side during a reload, also during several.
_SLOTS = 1024
_ROW = np.dtype(
    [
        ("pid", "i8"),
        ("up", "i8"),
        ("leaving", "i8"),
        ("connections", "i8"),
        ("in_flight", "i8"),
        ("waiting", "i8"),
        ("held_bytes", "i8"),
        ("request_seconds", "f8"),
        ("beat", "f8"),
    ]
)
_RESERVED = -1
# A worker that gave no sign of life for so long is stopped or stuck; it gives one each second.
_SILENT_SECONDS = 5.0
# Whoever holds the lock for longer is stopped, too.
_LOCK_SECONDS = 0.1
_LOCK_LOOK_SECONDS = 0.001
_PREFIX = "twinlens-"
_FRESH_SECONDS = 60.0
_FLAGS = np.dtype([("stopping", "i8"), ("ready", "i8"), ("forks", "i8")])


def _locked(path: Path) -> TextIO | None:
    """The file, locked until the last process that inherits it is gone; None if another has it."""
    file = path.open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file


def _sweep(place: Path) -> None:
    """Remove what a service left that was killed with all its processes."""
    for file in place.glob(f"{_PREFIX}*/alive"):
        with suppress(OSError):
            # A fresh one may be between the making of the file and its lock.
            old = time.time() - file.stat().st_mtime > _FRESH_SECONDS
            if old and (lock := _locked(file)):
                shutil.rmtree(file.parent, ignore_errors=True)
                lock.close()


class Closeable(Protocol):
    """Files and sockets."""

    def close(self) -> None:
        """Close it."""


class SharedState:
    """Made once in the master, whose slot is 0; all others belong to workers."""

    def __init__(self) -> None:
        # Shared memory is there and writable also where the root file system is read-only, and
        # nobody tidies it up. Not a TemporaryDirectory object: that would remove the folder when
        # the first worker ends.
        shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
        self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=shared))
        #: the process that made it
        self.owner = os.getpid()
        # Held by all processes of the service, since they inherit it.
        self._alive = _locked(self.folder / "alive")
        _sweep(self.folder.parent)
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

    def claim(self) -> int:
        """In the master, just before a fork: reserve a slot for the next worker."""
        self.folder.mkdir(mode=0o700, exist_ok=True)  # whoever removed it
        self._claimed = 1 + int(np.flatnonzero(self._rows["pid"][1:] == 0)[0])
        self._clear(self._claimed)
        self._rows["pid"][self._claimed] = _RESERVED
        self._flags["forks"] += 1
        return self._claimed

    def join(self) -> None:
        """In the new process, before it has threads: take the slot."""
        for mine in self._open:
            mine.close()  # the parent's, inherited
        self.slot = self._claimed
        self.beat()
        self._rows["pid"][self.slot] = os.getpid()
        self._threads = threading.Lock()
        self._lock_is_stuck = False
        self._bell = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._ringer = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._ringer.setblocking(False)
        self._open = [self._bell, self._ringer]
        # Neither is worth the end of a process where /dev/shm is full: without a bell it looks
        # once a second, without a lock bounds may be exceeded by a few.
        self._file: TextIO | None = None
        with suppress(OSError):
            self._bell.bind(str(self._bell_path(self.slot)))
        with suppress(OSError):
            # A lock of its own open file: one that was inherited would be shared with the parent.
            self._file = (self.folder / "state.lock").open("w")
            self._open.append(self._file)

    def release(self, slot: int) -> None:
        """In the master: the worker with this slot has ended, or never began."""
        self._clear(slot)

    def close(self) -> None:
        """The process ends; the one that made it removes its folder."""
        while self._open:
            self._open.pop().close()
        if os.getpid() == self.owner:
            if self._alive:
                self._alive.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    def _clear(self, slot: int) -> None:
        self._rows[slot] = 0
        self._bell_path(slot).unlink(missing_ok=True)
        self.report_path(slot).unlink(missing_ok=True)

    def wake(self) -> None:
        """Let workers go on that somebody has stopped (SIGSTOP), so that they can end."""
        for pid in self._rows["pid"][1:]:
            if pid > 0:
                with suppress(OSError):
                    os.kill(int(pid), signal.SIGCONT)

    # -- numbers -------------------------------------------------------------------------------

    def workers(self) -> list[int]:
        """The slots of the workers that stay; those of all where none does.

        One that is stopped or stuck does not count: nobody shall wait for it. In a process without
        workers it is its own.
        """
        slots = [int(slot) for slot in np.flatnonzero(self._rows["pid"] > 0)]
        slots = [slot for slot in slots if slot] or slots
        slots = [slot for slot in slots if slot == self.slot or not self._is_silent(slot)] or slots
        return [slot for slot in slots if not self._rows["leaving"][slot]] or slots

    def beat(self) -> None:
        """A sign of life of this worker; due each second."""
        self._rows["beat"][self.slot] = time.monotonic()

    def _is_silent(self, slot: int) -> bool:
        return time.monotonic() - float(self._rows["beat"][slot]) > _SILENT_SECONDS

    def leaving(self) -> set[int]:
        """The slots of workers that serve their last requests."""
        return {int(slot) for slot in np.flatnonzero(self._rows["leaving"])}

    def is_up(self, slot: int) -> bool:
        """Whether a worker has done all that it does at its start."""
        return bool(self._rows["up"][slot])

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

    def least(self, figure: Figure) -> int:
        """The smallest of the workers that stay."""
        return int(min(self._rows[figure][slot] for slot in self.workers()))

    def raise_flag(self, flag: Flag, value: int = 1) -> None:
        """For all to see."""
        self._flags[flag][0] = value

    def flag(self, flag: Flag) -> int:
        """The value with which it was raised last; 0 if it never was."""
        return int(self._flags[flag][0])

    def forks(self) -> int:
        """How many workers there have been."""
        return int(self._flags["forks"][0])

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
        """Alone among all threads of this worker, and as a rule among those of all workers.

        The kernel opens the lock of a process that dies. One that was stopped while it held the
        lock stops nobody: the others go on without, so that a bound may be exceeded by a few.
        """
        with self._threads:
            has_lock = self._take_lock()
            try:
                yield
            finally:
                if has_lock:
                    fcntl.flock(self._file, fcntl.LOCK_UN)  # type: ignore[arg-type]

    def _take_lock(self) -> bool:
        if self._file is None:
            return False
        end = time.monotonic() + (0.0 if self._lock_is_stuck else _LOCK_SECONDS)
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if time.monotonic() >= end:
                    self._lock_is_stuck = True  # nobody waits for it again until it is free
                    return False
                time.sleep(_LOCK_LOOK_SECONDS)
            else:
                self._lock_is_stuck = False
                return True

    # -- what the master says ------------------------------------------------------------------

    def say(self, trouble: str | None) -> None:
        """In the master: why /health should be 503, or that all is well."""
        with suppress(OSError):
            if trouble:
                self._trouble_path().write_text(trouble, encoding="utf-8")
            else:
                self._trouble_path().unlink(missing_ok=True)

    def master_trouble(self) -> str | None:
        """What it said last."""
        with suppress(OSError):
            return self._trouble_path().read_text(encoding="utf-8") or None
        return None

    def _trouble_path(self) -> Path:
        return self.folder / "master-trouble"

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
            self._bell.recv(16)  # where it could not be hung up it never rings

    def report_path(self, slot: int) -> Path:
        """Where a worker's report lies."""
        return self.folder / f"report-{slot}.json"

    def _bell_path(self, slot: int) -> Path:
        return self.folder / f"bell-{slot}"
