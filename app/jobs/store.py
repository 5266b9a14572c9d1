# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Jobs on disk, where every worker finds them.

Each job has a folder with its id as its name. In it are ``state.json``; ``input``, the film, until
the job has ended; ``result-1``, or ``result-2`` of the second attempt; and ``lock``. Whoever works
on the job locks that file, and the kernel unlocks it if the process ends for any reason: a job that
runs, but that is not locked, has lost its worker. A folder with a dot before its name is not a job
yet, or no longer one.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Self, TextIO

from app.errors import Busy, NoResources, TooLarge
from app.host import atomic
from app.host.locks import locked
from app.jobs.home import Home
from app.jobs.state import JobState, Order
from config.jobs import JobSettings

_ID = re.compile(r"[A-Za-z0-9_-]{22}")
_NEW, _GONE = ".new-", ".gone-"
# For each job that may be queued or running, this many that have ended are kept.
_ENDED_FOR_EACH = 5
_PIECE = 2**20
_CHECK_BYTES = 4 * 2**20
# Folders that are no jobs are removed at this age if nobody has locked them.
_LEFTOVER_SECONDS = 60.0


class NoRoom(Exception):
    """The jobs have as many bytes as they may have, and none of them can be removed."""


class Claim:
    """A job that this process works on; nobody else can claim it until it is released."""

    def __init__(self, folder: Path, lock: TextIO, state: JobState) -> None:
        self._folder = folder
        self._lock = lock
        self.state = state

    @property
    def input(self) -> Path:
        """The client's film."""
        return self._folder / "input"

    @property
    def result(self) -> Path:
        """What is made of it in this attempt."""
        return _result(self._folder, self.state)

    def exists(self) -> bool:
        """Whether the job is still wanted: a client that cancels it removes its folder."""
        return self._folder.exists()

    def write(self) -> None:
        """Write the state for all to see.

        Raises:
            OSError: the disk is full, or the job was removed.
        """
        atomic.write_text(self._folder / "state.json", self.state.model_dump_json())

    def drop_input(self) -> None:
        """Remove the film, which is not needed after the end."""
        self.input.unlink(missing_ok=True)

    def drop_results(self) -> None:
        """Remove what was made; a client that reads it just then can still do so."""
        for path in self._folder.glob("result-*"):
            path.unlink(missing_ok=True)

    def release(self) -> None:
        """Let others claim it."""
        self._lock.close()


class Store:
    """All jobs of the service. Every method may be called in any process and thread.

    Args:
        home: the folder of all jobs.
        max_jobs: how many may be queued or running.
        max_bytes: of all films and results together.
        keep_seconds: how long a job is kept after its end.
    """

    def __init__(self, home: Home, max_jobs: int, max_bytes: int, keep_seconds: float) -> None:
        self._home = home
        self._max_jobs = max_jobs
        self._max_bytes = max_bytes
        self._keep_seconds = keep_seconds
        #: ids of jobs that have ended, so that ``unfinished`` need not read them again
        self._ended: set[str] = set()

    @classmethod
    def from_settings(cls, home: Home, settings: JobSettings) -> Self:
        """The store with the operator's bounds."""
        return cls(home, settings.max_jobs, settings.jobs_max_bytes, settings.job_keep_seconds)

    # -- to read -------------------------------------------------------------------------------

    def read(self, id: str) -> JobState | None:
        """The state of a job; None if there is none with this id."""
        if not _ID.fullmatch(id):
            return None
        return _read(self._home.path() / id)

    def all(self) -> list[JobState]:
        """The states of all jobs, the oldest first."""
        states = [state for id in self._ids() if (state := self.read(id)) is not None]
        return sorted(states, key=lambda state: (state.created_at, state.id))

    def unfinished(self) -> list[JobState]:
        """The jobs that are queued or running, the oldest first."""
        ids = set(self._ids())
        self._ended &= ids
        found = [state for id in ids - self._ended if (state := self.read(id)) is not None]
        self._ended |= {state.id for state in found if state.has_ended}
        open_ones = [state for state in found if not state.has_ended]
        return sorted(open_ones, key=lambda state: (state.created_at, state.id))

    def result(self, state: JobState) -> Path:
        """The file with the result of a job, which may not exist yet."""
        return _result(self._home.path() / state.id, state)

    def _ids(self) -> list[str]:
        return [path.name for path in self._home.path().iterdir() if _ID.fullmatch(path.name)]

    # -- to change -----------------------------------------------------------------------------

    def create(self, film: BinaryIO, order: Order, check_cancelled: Callable[[], None]) -> JobState:
        """Add a job to the end of the queue.

        Args:
            film: is copied.
            order: what is to be made of it.
            check_cancelled: called while the film is copied; may raise.

        Raises:
            Busy: there are as many jobs as there may be, or no room for the film now.
            TooLarge: the film alone is larger than all jobs may be.
            OSError: the disk is full, or no file can be opened; nothing is left of the job.
        """
        size = film.seek(0, os.SEEK_END)
        film.seek(0)
        id = secrets.token_urlsafe(16)
        folder = self._home.path() / f"{_NEW}{id}"
        with ExitStack() as at_end:
            with self._bounds():
                self._check_bounds(size)
                at_end.callback(_remove, folder)  # if all goes well, it has another name by then
                folder.mkdir(mode=0o700)
                if lock := locked(folder / "lock"):
                    at_end.enter_context(lock)
                with (folder / "input").open("wb") as file:
                    file.truncate(size)  # counts from now on, before its bytes are there
            with (folder / "input").open("r+b") as file:
                while piece := film.read(_PIECE):
                    check_cancelled()
                    file.write(piece)
            state = JobState(id=id, order=order, created_at=time.time())
            atomic.write_text(folder / "state.json", state.model_dump_json())
            folder.rename(self._home.path() / id)
        return state

    def _check_bounds(self, size: int) -> None:
        if size > self._max_bytes:
            raise TooLarge(
                f"The film has {size} bytes; all jobs together may have {self._max_bytes} "
                "(JOBS_MAX_BYTES)",
                code="film_too_large",
            )
        coming = sum(path.name.startswith(_NEW) for path in self._home.path().iterdir())
        count = len(self.unfinished()) + coming
        if count >= self._max_jobs:
            raise Busy(
                f"{count} jobs are queued or running; at most {self._max_jobs} may be (MAX_JOBS); "
                "try again when one has ended",
                retry_after=30,
                code="too_many_jobs",
            )
        try:
            self.make_room(size)
        except NoRoom as error:
            raise Busy(
                f"{error}; try again when one has ended", retry_after=30, code="too_many_jobs"
            ) from None

    def claim(self, id: str) -> Claim | None:
        """Lock a job to work on it; None if another worker has it, or if it is gone."""
        folder = self._home.path() / id
        lock = _lock(folder)
        if lock is None:
            return None
        state = _read(folder)  # it may have changed before it was locked
        if state is None:
            lock.close()
            return None
        return Claim(folder, lock, state)

    def remove(self, id: str) -> bool:
        """Remove a job; one that runs ends as soon as its worker notices. False: there is none."""
        if self.read(id) is None:  # also keeps folders that are not ours
            return False
        gone = self._home.path() / f"{_GONE}{id}"
        try:
            (self._home.path() / id).rename(gone)
        except OSError:
            return False
        _remove(gone)
        return True

    # -- bounds --------------------------------------------------------------------------------

    @property
    def check_bytes(self) -> int:
        """After how many new bytes of a result ``make_room`` should be called."""
        return min(_CHECK_BYTES, self._max_bytes // 100)

    def used(self) -> int:
        """Bytes of all files of all jobs."""
        total = 0
        for folder in self._home.path().iterdir():
            if _ID.fullmatch(folder.name) or folder.name.startswith((_NEW, _GONE)):
                with suppress(OSError):  # it was removed just now, or is not a folder
                    total += sum(file.stat().st_size for file in folder.iterdir())
        return total

    def make_room(self, count: int) -> None:
        """Remove ended jobs, the oldest first, until ``count`` more bytes fit.

        Raises:
            NoRoom: they do not fit even if all ended ones are removed.
        """
        used = self.used()
        if used + count <= self._max_bytes:
            return
        for state in self._ended_ones():
            self.remove(state.id)
            used = self.used()
            if used + count <= self._max_bytes:
                return
        raise NoRoom(
            f"Films and results of all jobs would have {used + count} bytes on disk; at most "
            f"{self._max_bytes} are kept (JOBS_MAX_BYTES)"
        )

    def tidy(self) -> None:
        """Remove jobs that ended long ago, too many ended ones, and what killed processes left."""
        now = time.time()
        ended = self._ended_ones()
        surplus = len(ended) - _ENDED_FOR_EACH * self._max_jobs
        for number, state in enumerate(ended):
            if number < surplus or now - (state.ended_at or now) >= self._keep_seconds:
                self.remove(state.id)
        for folder in self._home.path().iterdir():
            if folder.name.startswith((_NEW, _GONE)) or _is_damaged(folder):
                self._remove_leftover(folder, now)

    def _remove_leftover(self, folder: Path, now: float) -> None:
        with suppress(OSError):
            if now - folder.stat().st_mtime < _LEFTOVER_SECONDS:
                return
            if lock := _lock(folder):
                _remove(folder)
                lock.close()

    def _ended_ones(self) -> list[JobState]:
        ended = [state for state in self.all() if state.has_ended]
        return sorted(ended, key=lambda state: state.ended_at or 0)

    @contextmanager
    def _bounds(self) -> Iterator[None]:
        """Let only one process at a time check the bounds and add a job."""
        with (self._home.path() / ".bounds").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # closing the file unlocks it
            yield


def no_folder(error: OSError) -> NoResources:
    """The error for clients if the folder of jobs cannot be used."""
    return NoResources(f"The folder for jobs cannot be used ({error.strerror})")


def _read(folder: Path) -> JobState | None:
    try:
        return JobState.model_validate_json((folder / "state.json").read_bytes())
    except (OSError, ValueError):  # gone, or written by another version
        return None


def _is_damaged(folder: Path) -> bool:
    """Whether it is the folder of a job whose state cannot be read, and not somebody else's."""
    ours = (folder / "state.json").exists() and (folder / "lock").exists()
    return ours and bool(_ID.fullmatch(folder.name)) and _read(folder) is None


def _result(folder: Path, state: JobState) -> Path:
    return folder / f"result-{state.attempts}"


def _lock(folder: Path) -> TextIO | None:
    """Lock a folder; None if somebody else has, or if it is gone."""
    try:
        return locked(folder / "lock")
    except OSError:
        return None


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
