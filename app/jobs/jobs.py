# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Jobs as the routes see them, and the thread of each worker that starts them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from app.errors import ClientGone, NotFound, TwinlensError
from app.jobs.home import Home
from app.jobs.run import Make, Outlook, Run, put_back_or_fail
from app.jobs.state import JobState, Order
from app.jobs.store import Store, no_folder

log = logging.getLogger("twinlens.jobs")

_TICK_SECONDS = 0.4
_TIDY_SECONDS = 10.0
# After a film was refused because direct requests have all places, no job starts for this long.
_REFUSED_SECONDS = 2.0
# Trouble with the folder is logged at most this often.
_LOG_SECONDS = 60.0
_CLOSE_SECONDS = 3.0
_FOLLOW_SECONDS = 0.1
_PIECE = 2**18


class BrokenOff(TwinlensError):
    """A result that a client follows will not be completed; it sees the connection break off."""


class Jobs:
    """The jobs of the service.

    A job begins in whichever worker has a free place first, in the order of their requests.

    Args:
        home: the folder of all jobs.
        store: the jobs in it.
        make: makes a film.
        places: jobs that this worker runs at the same time.
        outlook: what this worker is about to do.
    """

    def __init__(
        self,
        home: Home,
        store: Store,
        make: Make,
        places: int,
        outlook: Callable[[], Outlook],
    ) -> None:
        self.home = home
        self._store = store
        self._make = make
        self._places = places
        self._outlook = outlook
        self._runs: dict[str, tuple[Run, threading.Thread]] = {}
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        self._tidied_at = self._logged_at = float("-inf")
        self._refused_at = float("-inf")

    # -- for the routes ------------------------------------------------------------------------

    def create(self, film: BinaryIO, order: Order, check_cancelled: Callable[[], None]) -> JobState:
        """Add a job. For arguments and errors see ``Store.create``."""
        state = self._store.create(film, order, check_cancelled)
        self._wake.set()
        return state

    def state(self, id: str) -> JobState:
        """The state of a job. Raises NotFound."""
        try:
            state = self._store.read(id)
        except OSError as error:
            raise no_folder(error) from None
        if state is None:
            raise _unknown()
        if state.state == "running":
            with suppress(OSError):
                state.bytes = self._store.result(state).stat().st_size
        return state

    def cancel(self, id: str) -> None:
        """Remove a job and its files; one that runs ends within a second. Raises NotFound."""
        if not self._store.remove(id):
            raise _unknown()

    def result(self, state: JobState) -> Path:
        """The file with a job's result, which may not exist yet."""
        return self._store.result(state)

    def follow(self, state: JobState, is_gone: Callable[[], bool]) -> Iterator[bytes]:
        """The bytes of a result, from its beginning, also while it is made.

        Args:
            state: of the job.
            is_gone: whether the client has disconnected.

        Raises:
            BrokenOff: the job has failed, was removed, or has started again.
            ClientGone: the client has disconnected.
        """
        with self._store.result(state).open("rb") as file:
            while True:
                # Read before the bytes: the result of a job that is done is complete.
                now = self._store.read(state.id)
                if piece := file.read(_PIECE):
                    yield piece
                    continue
                if now is None or now.attempts != state.attempts or now.state == "failed":
                    raise BrokenOff("the job has failed, was removed, or has started again")
                if now.state == "done":
                    return
                if is_gone():
                    raise ClientGone
                time.sleep(_FOLLOW_SECONDS)

    # -- life ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread that starts jobs, in a worker."""
        self._thread = threading.Thread(None, self._work, "jobs", daemon=True)
        self._thread.start()

    def is_busy(self) -> bool:
        """Whether this worker works on jobs."""
        return any(thread.is_alive() for _, thread in list(self._runs.values()))

    def close(self) -> None:
        """Put jobs that run back to the queue, because this process ends."""
        self._closed.set()
        self._wake.set()
        threads = [self._thread] if self._thread else []
        for run, thread in list(self._runs.values()):
            run.stop()
            threads.append(thread)
        end = time.monotonic() + _CLOSE_SECONDS
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
        self.home.close()

    def _work(self) -> None:
        while not self._closed.is_set():
            self._wake.wait(_TICK_SECONDS)
            self._wake.clear()
            try:
                self._once()
            except Exception:  # for example, somebody removed the folder
                if time.monotonic() - self._logged_at > _LOG_SECONDS:
                    self._logged_at = time.monotonic()
                    log.exception("jobs could not be started; trying again")

    def _once(self) -> None:
        for id, (run, _) in list(self._runs.items()):
            if not run.is_over:
                run.tick()
                continue
            del self._runs[id]
            if run.was_refused:
                self._refused_at = time.monotonic()
        if time.monotonic() - self._tidied_at > _TIDY_SECONDS:
            self._tidied_at = time.monotonic()
            self._store.tidy()
        if self._outlook() == "stay":
            self._start_jobs()

    def _start_jobs(self) -> None:
        may_begin = time.monotonic() - self._refused_at > _REFUSED_SECONDS
        for state in self._store.unfinished():
            if self._closed.is_set():
                return
            has_place = may_begin and len(self._runs) < self._places
            if state.id in self._runs or (state.state == "queued" and not has_place):
                continue
            claim = self._store.claim(state.id)
            if claim is None:  # another worker works on it
                continue
            begins = False
            try:
                if claim.state.state == "running":
                    put_back_or_fail(claim)
                begins = has_place and claim.state.state == "queued"
            finally:
                if not begins:
                    claim.release()
            if begins:
                self._begin(Run(claim, self._make, self._store, self._outlook))

    def _begin(self, run: Run) -> None:
        def work() -> None:
            run.work()
            self._wake.set()  # the next one may begin

        thread = threading.Thread(None, work, f"job-{run.id[:6]}", daemon=True)
        self._runs[run.id] = run, thread
        thread.start()


def _unknown() -> NotFound:
    return NotFound(
        "There is no such job: it was removed, has ended long ago, or never was", code="unknown_job"
    )
