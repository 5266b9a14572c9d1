# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""State that the processes of one service share: numbers in memory, small files, a lock, a bell.

The master creates it before it forks workers. Each process has a slot: a row of numbers that only
this process writes, and a report (a JSON file). The bell of a process is a socket: other processes
ring it to tell that there is something new to read. When a worker ends or crashes, the master
clears its slot, so its numbers no longer count.
"""

from __future__ import annotations

import atexit
import fcntl
import mmap
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, Protocol, TextIO

import numpy as np
from numpy.typing import NDArray

from app.host.temporary import TemporaryFolder

#: Current numbers of one worker: flags (0 or 1), counts, and bytes of request bodies.
Figure = Literal[
    "up",
    "leaving",
    "connections",
    "in_flight",
    "waiting",
    "held_bytes",
    "cache_hits",
    "cache_misses",
    "cache_size",
]
#: Flags of the whole service.
Flag = Literal["stopping", "ready"]

# There are many more slots than workers, because old and new workers run at the same time during
# one or more reloads.
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
        ("cache_hits", "i8"),
        ("cache_misses", "i8"),
        ("cache_size", "i8"),
        ("request_seconds", "f8"),
        ("beat", "f8"),
    ]
)
# The pid in a slot that is reserved for a worker which is not running yet.
_RESERVED = -1
# A worker without a heartbeat for this long is stopped or stuck. Heartbeats come every second.
_SILENT_SECONDS = 5.0
# How long to wait for the lock. A process that holds it for longer must be stopped or stuck.
_LOCK_SECONDS = 0.1
_LOCK_POLL_SECONDS = 0.001
_FLAGS = np.dtype([("stopping", "i8"), ("ready", "i8"), ("forks", "i8")])


class Closeable(Protocol):
    """A file or a socket."""

    def close(self) -> None:
        """Close it."""


class SharedState:
    """All that the processes share. The master, which has slot 0, creates it before it forks."""

    def __init__(self) -> None:
        # /dev/shm is writable even if the root file system is read-only, and no system service
        # deletes old files there.
        shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
        self._temporary = TemporaryFolder(shared)
        self.folder = self._temporary.path
        #: pid of the process that created this object: the master
        self.owner = self._temporary.owner
        atexit.register(self.close)
        # Child processes share an anonymous map. Writing an aligned 8-byte number is atomic.
        memory = mmap.mmap(-1, _FLAGS.itemsize + _SLOTS * _ROW.itemsize)
        self._flags: NDArray[Any] = np.frombuffer(memory, _FLAGS, count=1)
        self._rows: NDArray[Any] = np.frombuffer(memory, _ROW, offset=_FLAGS.itemsize)
        # A pipe whose writing end every process of the service holds open. A read from it returns
        # when the last process has ended (app/host/lifeline.py).
        self.life = os.pipe()
        self.slot = 0
        self._claimed = 0
        self._open: list[Closeable] = []
        self.join()

    # -- slots and processes ------------------------------------------------------------------

    def claim(self) -> int:
        """Reserve a slot for the next worker and return it. The master calls this before a fork."""
        self.folder.mkdir(mode=0o700, exist_ok=True)  # in case somebody removed it
        self._claimed = 1 + int(np.flatnonzero(self._rows["pid"][1:] == 0)[0])
        self._clear(self._claimed)
        self._rows["pid"][self._claimed] = _RESERVED
        self._flags["forks"] += 1
        return self._claimed

    def join(self) -> None:
        """Take the slot that the master claimed. A new process calls this before it has threads."""
        for inherited in self._open:
            inherited.close()  # the parent has its own
        self.slot = self._claimed
        self.beat()
        self._rows["pid"][self.slot] = os.getpid()
        self._threads = threading.Lock()
        self._lock_is_stuck = False
        self._bell = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._ringer = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._ringer.setblocking(False)
        self._open = [self._bell, self._ringer]
        # If /dev/shm is full the process runs without a bell or without the lock file. Without a
        # bell it checks for news once a second. Without the lock, limits may be slightly exceeded.
        self._file: TextIO | None = None
        with suppress(OSError):
            self._bell.bind(str(self._bell_path(self.slot)))
        with suppress(OSError):
            # Each process opens the file anew: an inherited file would share the parent's lock.
            self._file = (self.folder / "state.lock").open("w")
            self._open.append(self._file)

    def release(self, slot: int) -> None:
        """Free the slot of a worker that has ended or could not be started; only for the master."""
        self._clear(slot)

    def close(self) -> None:
        """Close this process's files and sockets at its end; the master also removes the folder."""
        while self._open:
            self._open.pop().close()
        self._temporary.remove()

    def _clear(self, slot: int) -> None:
        self._rows[slot] = 0
        self._bell_path(slot).unlink(missing_ok=True)
        self.report_path(slot).unlink(missing_ok=True)

    def wake(self) -> None:
        """Send SIGCONT to all workers: one that was stopped (SIGSTOP) could not end otherwise."""
        for pid in self._rows["pid"][1:]:
            if pid > 0:
                with suppress(OSError):
                    os.kill(int(pid), signal.SIGCONT)

    # -- numbers -------------------------------------------------------------------------------

    def workers(self) -> list[int]:
        """The slots of the workers that take new requests.

        Leaves out workers that are ending, and those without a heartbeat (stopped or stuck), so
        that no process waits for them. If no worker remains, the ones left out are included after
        all. In a process without workers, such as the command line, the result is its own slot.
        """
        slots = [int(slot) for slot in np.flatnonzero(self._rows["pid"] > 0)]
        slots = [slot for slot in slots if slot] or slots
        slots = [slot for slot in slots if slot == self.slot or not self._is_silent(slot)] or slots
        return [slot for slot in slots if not self._rows["leaving"][slot]] or slots

    def beat(self) -> None:
        """Record a heartbeat of this process. Must be called at least once a second."""
        self._rows["beat"][self.slot] = time.monotonic()

    def _is_silent(self, slot: int) -> bool:
        return time.monotonic() - float(self._rows["beat"][slot]) > _SILENT_SECONDS

    def leaving(self) -> set[int]:
        """The slots of workers that are ending: they only finish requests in progress."""
        return {int(slot) for slot in np.flatnonzero(self._rows["leaving"])}

    def is_up(self, slot: int) -> bool:
        """Whether the worker with this slot has completed its start."""
        return bool(self._rows["up"][slot])

    def pid(self, slot: int) -> int:
        """The pid of the process with this slot; 0 if the slot is free, -1 if it is reserved."""
        return int(self._rows["pid"][slot])

    def set(self, figure: Figure, value: int) -> None:
        """Set a figure of this process."""
        self._rows[figure][self.slot] = value

    def get(self, figure: Figure) -> int:
        """A figure of this process."""
        return int(self._rows[figure][self.slot])

    def total(self, figure: Figure) -> int:
        """The sum of a figure over all processes."""
        return int(self._rows[figure].sum())

    def least(self, figure: Figure) -> int:
        """The smallest value of a figure among the workers that take new requests."""
        return int(min(self._rows[figure][slot] for slot in self.workers()))

    def raise_flag(self, flag: Flag, value: int = 1) -> None:
        """Set a flag for all processes."""
        self._flags[flag][0] = value

    def flag(self, flag: Flag) -> int:
        """The value of a flag; 0 if it was never raised."""
        return int(self._flags[flag][0])

    def forks(self) -> int:
        """How many workers the master has started, or tried to start."""
        return int(self._flags["forks"][0])

    def request_seconds(self) -> float:
        """Seconds of device time per request in this process; 0 while unknown."""
        return float(self._rows["request_seconds"][self.slot])

    def set_request_seconds(self, seconds: float) -> None:
        """Set the seconds of device time per request in this process."""
        self._rows["request_seconds"][self.slot] = seconds

    def requests_per_second(self) -> float:
        """Requests per second that all workers together complete at full load; 0 while unknown."""
        seconds = self._rows["request_seconds"]
        return float((1 / seconds[seconds > 0]).sum())

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Exclude all other threads of this process and, normally, of all processes.

        The kernel releases the lock of a process that dies. If a process is stopped while it holds
        the lock, the others proceed without it after 0.1 s, so a limit may be slightly exceeded.
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
                    self._lock_is_stuck = True  # do not wait again until it was free once
                    return False
                time.sleep(_LOCK_POLL_SECONDS)
            else:
                self._lock_is_stuck = False
                return True

    # -- trouble of the master -----------------------------------------------------------------

    def set_master_trouble(self, trouble: str | None) -> None:
        """Set the reason why /health returns 503, or None if there is none; only for the master."""
        with suppress(OSError):
            if trouble:
                self._trouble_path().write_text(trouble, encoding="utf-8")
            else:
                self._trouble_path().unlink(missing_ok=True)

    def master_trouble(self) -> str | None:
        """What is wrong with the master, as ``set_master_trouble`` stored it; None: nothing."""
        with suppress(OSError):
            return self._trouble_path().read_text(encoding="utf-8") or None
        return None

    def _trouble_path(self) -> Path:
        return self.folder / "master-trouble"

    # -- bell and reports ----------------------------------------------------------------------

    def ring(self) -> None:
        """Tell all workers that there is something new to read."""
        for slot in self.workers():
            # Fails if the worker has just ended, or if its bell is ringing already.
            with suppress(OSError):
                self._ringer.sendto(b"!", str(self._bell_path(slot)))

    def wait_for_bell(self, seconds: float) -> None:
        """Wait until another process rings, at most ``seconds``."""
        self._bell.settimeout(seconds)
        with suppress(TimeoutError):
            self._bell.recv(16)  # a socket that could not be bound never receives anything

    def report_path(self, slot: int) -> Path:
        """The path of the report of the worker with this slot."""
        return self.folder / f"report-{slot}.json"

    def _bell_path(self, slot: int) -> Path:
        return self.folder / f"bell-{slot}"
