# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Threads that help requests whose work can be done in parallel; so many for the whole process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Generic, TypeVar

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

_THREADS = 16
_MAX_PER_JOB = 7
_CHECK_SECONDS = 0.5


class Helpers:
    """A bounded pool whose threads take turns between the requests.

    A request's own thread works, too. So a request goes on also where slow ones keep all helpers
    busy; and a helper does one item, then lines up again behind the other requests.
    """

    def __init__(self, threads: int = _THREADS) -> None:
        # It starts its threads when there is work, so in a worker, after the fork.
        self._pool = ThreadPoolExecutor(threads, "helper")

    def map(
        self,
        work: Callable[[Item], Outcome],
        items: Sequence[Item],
        check_cancelled: Callable[[], None],
    ) -> list[Outcome]:
        """The outcomes of all items, in their order.

        Args:
            work: for one item; it should end soon after ``check_cancelled`` raises.
            items: what is to be done.
            check_cancelled: raises when nobody waits for the outcomes any more.

        Raises:
            Exception: the first that ``work`` or ``check_cancelled`` has raised.
        """
        job = _Job(work, items)
        for _ in range(min(len(items) - 1, _MAX_PER_JOB)):
            self._line_up(job)
        try:
            while job.do_one():
                check_cancelled()
            while not job.wait(_CHECK_SECONDS):
                check_cancelled()
        finally:
            job.cancel()
        return job.outcomes()

    def close(self) -> None:
        """No more help; requests that are under way do their work alone."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _line_up(self, job: _Job[Item, Outcome]) -> None:
        with suppress(RuntimeError):  # closed
            self._pool.submit(self._help, job)

    def _help(self, job: _Job[Item, Outcome]) -> None:
        if job.do_one():
            self._line_up(job)


class _Job(Generic[Item, Outcome]):
    """The items of one request."""

    def __init__(self, work: Callable[[Item], Outcome], items: Sequence[Item]) -> None:
        self._work = work
        self._items = list(enumerate(items))
        self._items.reverse()
        self._left = len(self._items)
        self._outcomes: dict[int, Outcome] = {}
        self._error: BaseException | None = None
        self._changed = threading.Condition()

    def do_one(self) -> bool:
        """Do the next item; whether there was one."""
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
        """At most so long; whether everything is done, or something failed."""
        with self._changed:
            return self._changed.wait_for(self._is_over, seconds)

    def _is_over(self) -> bool:
        return not self._left or self._error is not None

    def cancel(self) -> None:
        """What has not begun is not done any more."""
        with self._changed:
            self._items.clear()

    def outcomes(self) -> list[Outcome]:
        """In the order of the items. Raises what the work has raised."""
        if self._error is not None:
            raise self._error
        return [self._outcomes[index] for index in sorted(self._outcomes)]
