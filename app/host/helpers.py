# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""A thread pool, shared by all requests of the process, for work that can run in parallel."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Generic, TypeVar

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

_THREADS = 16
_MAX_HELPERS_PER_JOB = 7
_CHECK_SECONDS = 0.5


class Helpers:
    """A bounded thread pool that is shared fairly between requests.

    The thread of a request also works on its items, so a request proceeds even if other requests
    keep all pool threads busy. A pool thread does one item of a request and then puts that request
    at the end of the queue.
    """

    def __init__(self, threads: int = _THREADS) -> None:
        # The pool starts threads only when it gets work, which is after the fork. Threads that were
        # started earlier would not exist in the workers.
        self._pool = ThreadPoolExecutor(threads, "helper")

    def map(
        self,
        work: Callable[[Item], Outcome],
        items: Sequence[Item],
        check_cancelled: Callable[[], None],
    ) -> list[Outcome]:
        """Call ``work`` for each item, in several threads, and return the outcomes in order.

        Args:
            work: processes one item. It should return soon after ``check_cancelled`` raises.
            items: the items.
            check_cancelled: raises an error if the client no longer waits for the outcomes.

        Raises:
            Exception: the first error of ``work`` or ``check_cancelled``; items that were not
                started are dropped.
        """
        job = _Job(work, items)
        for _ in range(min(len(items) - 1, _MAX_HELPERS_PER_JOB)):
            self._enqueue(job)
        try:
            while job.run_next():
                check_cancelled()
            while not job.wait(_CHECK_SECONDS):
                check_cancelled()
        finally:
            job.cancel()
        return job.outcomes()

    def close(self) -> None:
        """Stop the pool. Requests in progress finish their items in their own threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _enqueue(self, job: _Job[Item, Outcome]) -> None:
        with suppress(RuntimeError):  # the pool is closed
            self._pool.submit(self._run_one, job)

    def _run_one(self, job: _Job[Item, Outcome]) -> None:
        if job.run_next():
            self._enqueue(job)


class _Job(Generic[Item, Outcome]):
    """The items of one request and their outcomes."""

    def __init__(self, work: Callable[[Item], Outcome], items: Sequence[Item]) -> None:
        self._work = work
        self._items = list(enumerate(items))
        self._items.reverse()
        self._left = len(self._items)
        self._outcomes: dict[int, Outcome] = {}
        self._error: BaseException | None = None
        self._changed = threading.Condition()

    def run_next(self) -> bool:
        """Process the next item. Returns False if none is left, or an item has failed."""
        with self._changed:
            if not self._items or self._error is not None:
                return False
            index, item = self._items.pop()
        try:
            outcome = self._work(item)
        except BaseException as error:
            with self._changed:
                self._error = self._error or error
                self._changed.notify_all()
            return False
        with self._changed:
            self._outcomes[index] = outcome
            self._left -= 1
            self._changed.notify_all()
        return True

    def wait(self, seconds: float) -> bool:
        """Wait at most ``seconds``. Returns whether all items are done or one has failed."""
        with self._changed:
            return self._changed.wait_for(self._is_over, seconds)

    def _is_over(self) -> bool:
        return not self._left or self._error is not None

    def cancel(self) -> None:
        """Drop the items that were not started."""
        with self._changed:
            self._items.clear()

    def outcomes(self) -> list[Outcome]:
        """The outcomes in the order of the items. Raises the first error of an item."""
        if self._error is not None:
            raise self._error
        return [self._outcomes[index] for index in sorted(self._outcomes)]
