# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""One job while a worker works on it."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import BinaryIO, Literal, Protocol

from app.errors import Busy, ClientGone, NoResources, TwinlensError
from app.jobs.state import JobState, Order
from app.jobs.store import Claim, NoRoom, Store

log = logging.getLogger("twinlens.jobs")

#: A job is started once more if its worker has ended, but no more often: perhaps it was the cause.
MOST_ATTEMPTS = 2
LOST_TWICE = (
    "The worker process that ran it ended unexpectedly, twice. It may have run out of memory; "
    "the service's log has more"
)
_WRITE_SECONDS = 1.0
# Frames per second are of this many seconds.
_RATE_SECONDS = 10


class Progress(Protocol):
    """How far the work on a film is."""

    @property
    def frames(self) -> int: ...

    @property
    def total(self) -> int | None: ...


class Made(Protocol):
    """A film while it is made."""

    @property
    def weights(self) -> str: ...

    @property
    def warnings(self) -> list[str]: ...

    @property
    def chunks(self) -> Iterator[bytes]: ...


#: Makes a film of a film. The other arguments: what was asked for, whether it is still wanted, and
#: a function to call with the progress.
Make = Callable[[BinaryIO, Order, Callable[[], bool], Callable[[Progress], None]], Made]
#: What a worker is about to do: "stay"; "leave": it is being replaced, but finishes its work first;
#: "stop": the whole service ends; "fail": it ends alone, because something in it has failed.
Outlook = Literal["stay", "leave", "stop", "fail"]


class Run:
    """Works on a job that this process has claimed.

    Args:
        claim: the job.
        make: makes the film.
        store: has the limit on the bytes of all jobs.
        outlook: what this worker is about to do.
    """

    def __init__(
        self, claim: Claim, make: Make, store: Store, outlook: Callable[[], Outlook]
    ) -> None:
        self._claim = claim
        self._make = make
        self._store = store
        self._outlook = outlook
        self._unwanted = threading.Event()
        # Guards the state, which two threads write, until it is final.
        self._lock = threading.Lock()
        self._is_final = False
        self._progress: Progress | None = None
        self._rate: deque[tuple[float, int]] = deque(maxlen=_RATE_SECONDS)
        self._written_at = 0.0
        self._unchecked = 0
        #: whether nothing is left to do
        self.is_over = False
        #: whether it was put back because all places for films are taken in this worker
        self.was_refused = False

    @property
    def id(self) -> str:
        """The id of the job."""
        return self._claim.state.id

    def tick(self) -> None:
        """Notice that the job was removed, and write its progress; called about twice a second."""
        with self._lock:
            if self._is_final:
                return
            if not self._claim.exists():
                self._unwanted.set()
            elif time.monotonic() - self._written_at >= _WRITE_SECONDS:
                self._note_progress()
                self._write()

    def stop(self) -> None:
        """End soon, because this worker ends; the job goes back to the queue."""
        self._unwanted.set()

    def work(self) -> None:
        """Work on the job to its end. Call this in a thread of its own."""
        try:
            with self._lock:
                self._begin()
            self._finish(self._attempt())
        except Exception:  # the disk is full, or the job was removed: its state cannot be written
            log.exception("job %s: its state could not be written", self.id)
        finally:
            self._claim.release()
            self.is_over = True

    def _begin(self) -> None:
        old = self._claim.state
        fresh = JobState(id=old.id, order=old.order, created_at=old.created_at)
        fresh.attempts = old.attempts + 1
        fresh.state, fresh.started_at = "running", time.time()
        self._claim.drop_results()
        self._claim.state = fresh
        self._write()
        log.info("job %s begins, attempt %d", self.id, fresh.attempts)

    def _attempt(self) -> str | None:
        """Make the film; returns why it failed."""
        try:
            self._make_film()
        except Busy as error:
            self.was_refused = True
            return error.message
        except NoRoom as error:
            return str(error)
        except TwinlensError as error:
            return error.message
        except Exception as error:
            lacking = NoResources.from_error(error)
            if lacking is None:
                log.exception("job %s failed", self.id)
                return "It failed unexpectedly; the service's log has the cause"
            return lacking.message
        return None

    def _make_film(self) -> None:
        with self._claim.input.open("rb") as film:
            made = self._make(film, self._claim.state.order, self._is_unwanted, self._progressed)
            chunks = made.chunks
            try:
                self._claim.state.weights = made.weights
                with self._claim.result.open("wb") as result:
                    for chunk in chunks:
                        if self._is_unwanted():
                            raise ClientGone
                        result.write(chunk)
                        result.flush()  # for clients that follow it
                        self._check_room(len(chunk))
            finally:
                if close := getattr(chunks, "close", None):
                    close()
            self._store.make_room(0)
            self._claim.state.warnings = list(made.warnings)

    def _check_room(self, count: int) -> None:
        self._unchecked += count
        if self._unchecked >= self._store.check_bytes:
            self._unchecked = 0
            self._store.make_room(0)

    def _is_unwanted(self) -> bool:
        return self._unwanted.is_set() or self._outlook() in ("stop", "fail")

    def _progressed(self, progress: Progress) -> None:
        self._progress = progress

    # -- the state -----------------------------------------------------------------------------

    def _note_progress(self) -> None:
        state, progress = self._claim.state, self._progress
        with suppress(OSError):
            state.bytes = self._claim.result.stat().st_size
        if progress is None:
            return
        state.frames_done, state.frames_total = progress.frames, progress.total
        self._rate.append((time.monotonic(), progress.frames))
        seconds = self._rate[-1][0] - self._rate[0][0]
        if seconds <= 0:
            return
        rate = (self._rate[-1][1] - self._rate[0][1]) / seconds
        state.frames_per_second, state.seconds_left = rate, None
        if progress.total is not None and rate > 0:
            state.seconds_left = max(0, progress.total - progress.frames) / rate

    def _write(self) -> None:
        self._written_at = time.monotonic()
        # The disk may be full for now, or a client has removed the job, which ``tick`` notices.
        with suppress(OSError):
            self._claim.write()

    def _finish(self, error: str | None) -> None:
        with self._lock:
            self._is_final = True
            if not self._claim.exists():
                log.info("job %s was cancelled", self.id)
                return
            self._note_progress()
            state, outlook = self._claim.state, self._outlook()
            if error is None:
                self._end("done")
            elif outlook == "stop" or self.was_refused:
                state.attempts -= 1  # it is not the job's fault
                self._put_back()
            elif outlook == "fail" or self._unwanted.is_set():
                put_back_or_fail(self._claim)
            else:
                state.error = error
                self._end("failed")

    def _put_back(self) -> None:
        self._claim.drop_results()
        put_back(self._claim)

    def _end(self, phase: Literal["done", "failed"]) -> None:
        state = self._claim.state
        end(self._claim, phase)
        log.info(
            "job %s %s: %d frames%s",
            self.id,
            phase,
            state.frames_done,
            f"; {state.error}" if state.error else "",
        )


def end(claim: Claim, phase: Literal["done", "failed"]) -> None:
    """Write the end of a job, and remove the files that nobody needs any more. Raises OSError."""
    state = claim.state
    state.state, state.ended_at, state.seconds_left = phase, time.time(), None
    seconds = state.ended_at - (state.started_at or state.ended_at)
    state.frames_per_second = state.frames_done / seconds if seconds > 0 else None
    if phase == "failed":
        state.bytes = 0
        claim.drop_results()
    else:
        with suppress(OSError):  # a full disk; there is room without the film
            claim.write()
    claim.drop_input()
    claim.write()


def put_back(claim: Claim) -> None:
    """Let a job wait once more, from its beginning. Raises OSError."""
    state = claim.state
    claim.state = JobState(
        id=state.id, order=state.order, created_at=state.created_at, attempts=state.attempts
    )
    claim.write()


def put_back_or_fail(claim: Claim) -> None:
    """Let a job whose worker has ended wait once more; the second time it fails. Raises OSError."""
    if claim.state.attempts < MOST_ATTEMPTS:
        log.warning("the worker of job %s has ended; the job starts again", claim.state.id)
        put_back(claim)
    else:
        claim.state.error = LOST_TWICE
        end(claim, "failed")
        log.error("job %s failed: %s", claim.state.id, LOST_TWICE)
