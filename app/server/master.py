# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Changes gunicorn's master process: how it starts, counts and replaces workers."""

from __future__ import annotations

import logging
import signal
import time
from typing import TYPE_CHECKING, Any, Protocol

from gunicorn.errors import HaltServer

if TYPE_CHECKING:
    from app.host.shared_state import SharedState

log = logging.getLogger("twinlens.master")

# If more than this many workers in a row die during their start, the master waits before it starts
# the next one.
_FREE_DEATHS = 3
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0
# Signals that the master sends to workers; blocked during a fork, see ``Master.spawn``.
_WORKER_SIGNALS = {signal.SIGTERM, signal.SIGQUIT, signal.SIGINT, signal.SIGUSR1, signal.SIGABRT}


class Crashes(Protocol):
    """The methods of app.workers.crashes.Crashes that the master calls.

    This is a protocol, because app/server must not import app/workers.
    """

    def died(self, slot: int) -> None:
        """Record that the worker with this slot ended without being told to."""

    def forget(self, slot: int) -> None:
        """Forget the worker with this slot, because the slot is about to be free."""


class Master:
    """Replaces three methods of gunicorn's arbiter (its master).

    - gunicorn counts every process as a worker, even one that is ending and only finishes its
      requests. Here ``num_workers`` counts only the workers that stay.
    - gunicorn's master exits if a worker cannot start. Here it exits only if no worker was ever
      up; otherwise the service continues with the workers that it has.
    """

    def __init__(self, arbiter: Any, shared: SharedState, crashes: Crashes) -> None:
        """Replace the arbiter's methods. Call this once, before it starts workers."""
        self._arbiter = arbiter
        self._shared = shared
        self._crashes = crashes
        #: workers to which this class has sent SIGTERM
        self._terminated: set[Any] = set()
        self._deaths = 0
        self._next_spawn = 0.0
        self._in_trouble = False
        self._was_up = False
        self._spawn_worker = arbiter.spawn_worker
        self._reap_workers = arbiter.reap_workers
        arbiter.manage_workers = self.manage
        arbiter.spawn_worker = self.spawn
        arbiter.reap_workers = self.reap

    def manage(self) -> None:
        """Start or end workers until ``num_workers`` stay; replaces Arbiter.manage_workers."""
        arbiter = self._arbiter
        workers = arbiter.WORKERS
        self._terminated &= set(workers.values())
        leaving = self._shared.leaving()
        staying = [
            worker
            for worker in workers.values()
            if worker.slot not in leaving and worker not in self._terminated
        ]
        up = sum(self._shared.is_up(each.slot) for each in staying)
        self._was_up = self._was_up or up > 0
        if self._in_trouble and up >= arbiter.num_workers:
            self._deaths, self._in_trouble = 0, False
            self._shared.set_master_trouble(None)
        for _ in range(arbiter.num_workers - len(staying)):
            if time.monotonic() < self._next_spawn or not self.spawn():
                break
        staying.sort(key=lambda worker: worker.age)
        for worker in staying[: max(0, len(staying) - arbiter.num_workers)]:
            self._terminated.add(worker)
            arbiter.kill_worker(worker.pid, signal.SIGTERM)

    def spawn(self) -> bool:
        """Start a worker; replaces Arbiter.spawn_worker. Returns False if that fails.

        Signals to the new worker are blocked until it has installed its own handlers and calls
        ``unblock_signals``. Before that, it still has the master's handlers. They would put a
        SIGTERM into the worker's copy of the master's queue, which nothing reads, so the worker
        would never end.
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, _WORKER_SIGNALS)
        try:
            self._spawn_worker()
        except OSError as error:
            # The fork itself or the step before it has failed: no memory, or /dev/shm is full.
            self._delay_next(f"could not be started ({error.strerror})")
            log.error(
                "a worker cannot be started (%s); the running workers continue", error.strerror
            )
            return False
        finally:
            unblock_signals()
        return True

    def reap(self) -> None:
        """Collect ended workers; replaces Arbiter.reap_workers.

        Raises:
            HaltServer: a worker could not start, and none was ever up.
        """
        before = dict(self._arbiter.WORKERS)
        while True:
            try:
                self._reap_workers()
                return
            except HaltServer:
                if not self._was_up:
                    raise
                # gunicorn has removed this worker from WORKERS without calling the hook child_exit.
                for pid, worker in before.items():
                    if pid not in self._arbiter.WORKERS and not getattr(worker, "ended", False):
                        worker.tmp.close()
                        self._arbiter.cfg.child_exit(self._arbiter, worker)

    def ended(self, worker: Any) -> None:
        """Record that a worker has ended. Call this before its slot is released."""
        worker.ended = True
        was_up = self._shared.is_up(worker.slot)
        self._was_up = self._was_up or was_up
        if worker not in self._terminated and worker.slot not in self._shared.leaving():
            self._crashes.died(worker.slot)
        self._crashes.forget(worker.slot)
        if was_up or worker in self._terminated:
            self._deaths = 0
        else:
            self._delay_next("ended before they were up")

    def _delay_next(self, what: str) -> None:
        """Count a failed start. After several in a row, delay the next start, longer each time."""
        self._deaths += 1
        if self._deaths > _FREE_DEATHS:
            doublings = min(10, self._deaths - _FREE_DEATHS - 1)
            pause = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2**doublings)
            self._next_spawn = time.monotonic() + pause
            trouble = f"{self._deaths} workers in a row {what}; see the log"
            log.error("%s; the next worker starts in %g s", trouble, pause)
            self._in_trouble = True
            self._shared.set_master_trouble(trouble)


def unblock_signals() -> None:
    """Unblock the signals that ``Master.spawn`` has blocked; pending ones are delivered now."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _WORKER_SIGNALS)
