# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""gunicorn's master, with our own way to keep the wanted number of workers."""

from __future__ import annotations

import logging
import signal
import time
from typing import Any, Protocol

from gunicorn.errors import HaltServer

log = logging.getLogger("twinlens.master")

# So many workers in a row may die before they are up; then each further one begins later.
_FREE_DEATHS = 3
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0
# What this master sends to its workers. See Master.spawn.
_TO_WORKERS = {signal.SIGTERM, signal.SIGQUIT, signal.SIGINT, signal.SIGUSR1, signal.SIGABRT}


class SharedState(Protocol):
    """What the master needs of app.host.shared_state.SharedState."""

    def leaving(self) -> set[int]:
        """Slots of workers that serve their last requests."""

    def is_up(self, slot: int) -> bool:
        """Whether a worker has done all that it does at its start."""

    def say(self, trouble: str | None) -> None:
        """Tell /health why it should be 503, or that all is well."""


class Crashes(Protocol):
    """What the master needs of app.workers.crashes.Crashes."""

    def died(self, slot: int) -> None:
        """A worker has ended that nobody told to."""

    def forget(self, slot: int) -> None:
        """Its slot is free again."""


class Master:
    """Takes the place of some of the arbiter's methods.

    gunicorn counts every process as a worker, also one that only serves its last requests, and
    ends itself when a worker cannot begin. Here ``num_workers`` counts those that stay, and a
    service that was up once goes on with the workers that it has.
    """

    def __init__(self, arbiter: Any, shared: SharedState, crashes: Crashes) -> None:
        """Change the arbiter; once, before its first workers."""
        self._arbiter = arbiter
        self._shared = shared
        self._crashes = crashes
        #: workers that were told to end, and those that ended
        self._told: set[Any] = set()
        self._deaths = 0
        self._next_spawn = 0.0
        self._trouble = False
        self._was_up = False
        self._spawn_worker = arbiter.spawn_worker
        self._reap_workers = arbiter.reap_workers
        arbiter.manage_workers = self.manage
        arbiter.spawn_worker = self.spawn
        arbiter.reap_workers = self.reap

    def manage(self) -> None:
        """Let as many workers as are wanted stay: see Arbiter.manage_workers."""
        arbiter = self._arbiter
        workers = arbiter.WORKERS
        self._told &= set(workers.values())
        leaving = self._shared.leaving()
        staying = [
            worker
            for worker in workers.values()
            if worker.slot not in leaving and worker not in self._told
        ]
        up = sum(self._shared.is_up(each.slot) for each in staying)
        self._was_up = self._was_up or up > 0
        if self._trouble and up >= arbiter.num_workers:
            self._deaths, self._trouble = 0, False
            self._shared.say(None)
        for _ in range(arbiter.num_workers - len(staying)):
            if time.monotonic() < self._next_spawn or not self.spawn():
                break
        staying.sort(key=lambda worker: worker.age)
        for worker in staying[: max(0, len(staying) - arbiter.num_workers)]:
            self._told.add(worker)
            arbiter.kill_worker(worker.pid, signal.SIGTERM)

    def spawn(self) -> bool:
        """See Arbiter.spawn_worker; whether there is a new worker.

        Until a worker has its own handlers (``take_signals``), a signal would end up in its copy
        of the master's queue, which nobody reads: the worker would never end.
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, _TO_WORKERS)
        try:
            self._spawn_worker()
        except OSError as error:
            # In the master, before the fork: no memory, or nothing left of /dev/shm.
            self._wait(f"could not be started ({error.strerror})")
            log.error(
                "a worker cannot be started (%s); those that run stay as they are", error.strerror
            )
            return False
        finally:
            take_signals()
        return True

    def reap(self) -> None:
        """See Arbiter.reap_workers."""
        before = dict(self._arbiter.WORKERS)
        while True:
            try:
                self._reap_workers()
                return
            except HaltServer:
                if not self._was_up:
                    raise
                # It was taken off the list already, and no hook was called for it.
                for pid, worker in before.items():
                    if pid not in self._arbiter.WORKERS and not getattr(worker, "ended", False):
                        worker.tmp.close()
                        self._arbiter.cfg.child_exit(self._arbiter, worker)

    def ended(self, worker: Any) -> None:
        """A worker has ended, and its slot is not free yet."""
        worker.ended = True
        was_up = self._shared.is_up(worker.slot)
        self._was_up = self._was_up or was_up
        if worker not in self._told and worker.slot not in self._shared.leaving():
            self._crashes.died(worker.slot)
        self._crashes.forget(worker.slot)
        if was_up or worker in self._told:
            self._deaths = 0
        else:
            self._wait("ended before they were up")

    def _wait(self, what: str) -> None:
        """Before the next worker, where one could not begin: longer each time."""
        self._deaths += 1
        if self._deaths > _FREE_DEATHS:
            doublings = min(10, self._deaths - _FREE_DEATHS - 1)
            pause = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2**doublings)
            self._next_spawn = time.monotonic() + pause
            trouble = f"{self._deaths} workers in a row {what}; the log says more"
            log.error("%s; the next one begins in %g s", trouble, pause)
            self._trouble = True
            self._shared.say(trouble)


def take_signals() -> None:
    """Handle the signals that ``Master.spawn`` has held back, and those to come."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _TO_WORKERS)
