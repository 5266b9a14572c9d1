# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The waiting room: a bounded queue of requests for the device, first come, first served.

A request enters, may prepare its input shortly before the device becomes free for it, and then runs
in one batch with other requests for the same network. The device never waits for a batch to fill:
as soon as it is free, it takes the inputs that are ready. A request waits in the worker that its
client is connected to; the limit on waiting requests applies to all workers together.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from app.errors import Busy, ClientGone, TooSlow, TwinlensError
from app.host.shared_state import SharedState
from app.queueing.tickets import FloatArray, InputArray, QueueFigures, Ticket, allow_preparing

# How often a waiting request checks that its client is still connected.
_POLL_SECONDS = 1.0
# Requests are stuck when none has made progress for this many times the longest permitted wait.
_STALL_FACTOR = 2.0
# If the longest permitted wait is 0, this is used in its place to detect a stall.
_DEFAULT_WAIT_SECONDS = 60.0
# Weight of the newest measurement in the moving average of seconds for each request.
_SMOOTHING = 0.2


class Rate:
    """Measures how many requests the service completes in a second, to compute ``Retry-After``.

    Each worker measures its own rate; the rate of the service is the sum over its workers.
    """

    def __init__(self, shared: SharedState) -> None:
        self._shared = shared
        self._last_done = 0.0

    def note(self, started: float, requests: int) -> None:
        """Record that a batch is done.

        Args:
            started: when the device began the batch (monotonic seconds).
            requests: number of requests in the batch.
        """
        now = time.monotonic()
        # A batch counts from its start, or from the end of the previous batch if that was later:
        # batches may overlap, and no time must be counted twice.
        seconds = (now - max(started, self._last_done)) / requests
        self._last_done = now
        known = self._shared.request_seconds()
        smoothed = known + _SMOOTHING * (seconds - known) if known else seconds
        self._shared.set_request_seconds(smoothed)

    def seconds_for(self, requests: int, longest: float) -> int:
        """Whole seconds that all workers together need for the requests, from 1 to ``longest``."""
        rate = self._shared.requests_per_second()
        seconds = requests / rate if rate else 1.0
        return max(1, math.ceil(min(seconds, longest)))


class WaitingRoom:
    """The queue of this worker; ``shared`` holds the number of waiting requests of all workers."""

    def __init__(
        self,
        shared: SharedState,
        concurrency: int,
        workers: int,
        max_queue: int,
        max_wait_seconds: float,
        inference_seconds: float,
    ) -> None:
        self._shared = shared
        self._rate = Rate(shared)
        self._concurrency = concurrency
        self._workers = workers
        self._max_queue = max_queue
        self.max_wait_seconds = max_wait_seconds
        self._inference_seconds = inference_seconds
        self._lock = threading.RLock()
        self._prepared = threading.Condition(self._lock)
        #: in the order of arrival, until their inference begins
        self._queue: list[Ticket] = []
        self._running: list[list[Ticket]] = []
        #: when any request last made progress (monotonic seconds): its file was decoded, its input
        #: was prepared, or its inference began or ended
        self._progress_at = time.monotonic()
        self._refusal: Callable[[], TwinlensError] | None = None
        self._end = math.inf
        #: called when an inference takes longer than INFERENCE_TIMEOUT_SECONDS
        self.on_hang: Callable[[], None] = lambda: None

    # -- the caller's side ---------------------------------------------------------------------

    @contextmanager
    def enter(self, key: str, images: int, is_gone: Callable[[], bool]) -> Iterator[Ticket]:
        """Put a request into the queue; it leaves the queue at the end of the ``with`` block.

        Args:
            key: identifies the network.
            images: number of inputs in the request.
            is_gone: tells whether the client has hung up.

        Raises:
            Busy: ``max_queue`` requests already wait, in all workers together.
            TooSlow: the device is busy, and the longest permitted wait is 0.
            NotAvailable: the waiting room is closed.
        """
        ticket = Ticket(key, images, is_gone)
        with self._lock:
            if self._refusal:
                raise self._refusal()
            # An idle device takes a request even where no request is allowed to wait.
            if len(self._queue) < self._idle():
                self._queue.append(ticket)
                self._publish()
                ticket.found_idle_device = True
            else:
                self._take_place(ticket)
                if self.max_wait_seconds == 0:
                    self._remove(ticket)
                    raise self._too_slow()
        try:
            yield ticket
        finally:
            with self._lock:
                self._remove(ticket)

    def wait_for_turn(self, ticket: Ticket, max_batch: int) -> None:
        """Wait until the request may prepare its input, because the device is free for it soon.

        Args:
            ticket: from ``enter``.
            max_batch: number of inputs of its network that may run as one batch.

        Raises:
            TooSlow: no turn came in time.
            ClientGone: the client has hung up.
            NotAvailable: the room was closed.
        """
        with self._lock:
            if not any(other.max_batch for other in self._queue) and not self._running:
                self._progress_at = time.monotonic()  # the queue was empty until now
            ticket.max_batch = max_batch
            # Even where the longest permitted wait is 0, a request that found an idle device has no
            # deadline: it still has to wait for the short moment until that device takes it.
            if not (ticket.found_idle_device and self.max_wait_seconds == 0):
                ticket.deadline = time.monotonic() + self.max_wait_seconds
            allow_preparing(self._queue, self._concurrency)
        self._wait(ticket, ticket.may_prepare)

    def run(self, ticket: Ticket, network: Any, inputs: InputArray) -> FloatArray:
        """Wait until the device has computed the outputs [n, ...] of prepared inputs [n, ...].

        Raises:
            TooSlow: the wait, or the inference, took too long.
            ClientGone: the client has hung up.
            NotAvailable: the room was closed, the device is lost, or memory ran out.
            Exception: the network failed.
        """
        with self._lock:
            # This is less than what ``enter`` was told if some inputs of the request are unusable.
            ticket.images = len(inputs)
            ticket.network, ticket.inputs = network, inputs
            self._progress_at = time.monotonic()
            self._prepared.notify()
        self._wait(ticket, ticket.done)
        assert ticket.outputs is not None
        return ticket.outputs

    def check_cancelled(self, ticket: Ticket) -> None:
        """Raise if the request should not go on. Callers check this while they load or decode.

        Raises:
            TooSlow: no turn came in time.
            ClientGone: the client has hung up.
            NotAvailable: the room was closed.
        """
        with self._lock:
            if ticket.error is not None:
                raise ticket.error
            self._check_wait(ticket)

    def mark_slow(self, ticket: Ticket) -> None:
        """Let other requests prepare in place of this one, whose input takes long to prepare."""
        with self._lock:
            ticket.is_slow = True
            allow_preparing(self._queue, self._concurrency)

    def note_progress(self) -> None:
        """Record that some request made progress, so that ``stall`` does not report one."""
        with self._lock:
            self._progress_at = time.monotonic()

    def figures(self) -> QueueFigures:
        """The present numbers of requests in all workers together."""
        return QueueFigures(
            self._concurrency * self._workers,
            self._shared.total("in_flight"),
            self._shared.total("waiting"),
            self._max_queue,
            self.max_wait_seconds,
        )

    def stall(self) -> str | None:
        """The reason for ``/health`` if requests wait and none has made progress for long, or None.

        Requests whose model is still loading do not count, and while an inference runs there is no
        stall, because inferences have their own time limit.
        """
        limit = _STALL_FACTOR * (self.max_wait_seconds or _DEFAULT_WAIT_SECONDS)
        with self._lock:
            waiting = [ticket for ticket in self._queue if ticket.max_batch]
            since = time.monotonic() - self._progress_at
            if not waiting or self._running or since <= limit:
                return None
        return f"{len(waiting)} requests wait, and none got any further for {since:.0f} s"

    def is_empty(self) -> bool:
        """Whether no request waits or runs in this worker."""
        return not self._queue and not self._running

    def close(
        self, refusal: Callable[[], TwinlensError], running_seconds: float = math.inf
    ) -> None:
        """Refuse queued and new requests.

        Args:
            refusal: makes the error that these requests get.
            running_seconds: how much longer running inferences may take.
        """
        with self._lock:
            self._refusal = refusal
            self._end = min(self._end, time.monotonic() + running_seconds)
            for ticket in self._queue.copy():
                self._remove(ticket)
                ticket.finish(refusal())
            self._prepared.notify_all()

    # -- the device's side ---------------------------------------------------------------------

    def take(self) -> list[Ticket]:
        """Wait until an input is ready, and take all tickets that can run with it as one batch.

        Returns:
            Tickets of one network whose inputs have one shape, the oldest first. The list is empty
            once the room is closed.
        """
        with self._lock:
            while True:
                batch = self._next_batch()
                if batch:
                    now = time.monotonic()
                    for ticket in batch:
                        self._queue.remove(ticket)
                        ticket.started = now
                    self._running.append(batch)
                    self._progress_at = now
                    self._publish()
                    allow_preparing(self._queue, self._concurrency)
                    return batch
                if self._refusal:
                    return []
                self._prepared.wait()

    def restart_clock(self, batch: list[Ticket]) -> None:
        """Restart the time limit of a batch's inference, as another pass of the network begins."""
        with self._lock:
            now = time.monotonic()
            for ticket in batch:
                ticket.started = now

    def finish(
        self, batch: list[Ticket], began: float, outcomes: Sequence[FloatArray | Exception]
    ) -> None:
        """Free the device of a batch, and wake its callers.

        Args:
            batch: from ``take``.
            began: when the device began it (monotonic seconds).
            outcomes: for each ticket its outputs or its error.
        """
        with self._lock:
            self._running.remove(batch)
            self._progress_at = time.monotonic()
            self._rate.note(began, len(batch))
            self._publish()
            allow_preparing(self._queue, self._concurrency)
            # Callers wake last, so that a client's immediate next request finds the device free.
            for ticket, outcome in zip(batch, outcomes, strict=True):
                ticket.finish(outcome)

    def _too_slow(self) -> TooSlow:
        return TooSlow(
            f"No turn within {self.max_wait_seconds:g} seconds (IMAGE_EMBEDDER_MAX_WAIT_SECONDS)"
        )

    # -- internal; the caller holds the lock ---------------------------------------------------

    def _idle(self) -> int:
        return self._concurrency - len(self._running)

    def _take_place(self, ticket: Ticket) -> None:
        with self._shared.locked():
            waiting = self._shared.total("waiting")
            if waiting >= self._max_queue:
                raise Busy(
                    f"{waiting} requests wait already (IMAGE_EMBEDDER_MAX_QUEUE); try again later",
                    retry_after=self._rate.seconds_for(waiting + 1, self.max_wait_seconds),
                )
            self._queue.append(ticket)
            self._publish()

    def _publish(self) -> None:
        # The oldest queued requests count as in flight if the device is free for them.
        served = min(len(self._queue), self._idle())
        running = sum(len(batch) for batch in self._running)
        self._shared.set("in_flight", running + served)
        self._shared.set("waiting", len(self._queue) - served)

    def _remove(self, ticket: Ticket) -> None:
        if ticket in self._queue:
            self._queue.remove(ticket)
            self._publish()
            allow_preparing(self._queue, self._concurrency)

    def _next_batch(self) -> list[Ticket]:
        batch: list[Ticket] = []
        for ticket in [each for each in self._queue if each.inputs is not None]:
            if ticket.is_gone():
                self._remove(ticket)
                ticket.finish(ClientGone())
            elif not batch or ticket.fits_into(batch):
                batch.append(ticket)
        return batch

    # -- internal; for the waiting caller ------------------------------------------------------

    def _wait(self, ticket: Ticket, event: threading.Event) -> None:
        while not event.wait(min(_POLL_SECONDS, max(0.01, self._time_left(ticket)))):
            with self._lock:
                if not event.is_set():
                    self._check_wait(ticket)
        if ticket.error is not None:
            raise ticket.error

    def _time_left(self, ticket: Ticket) -> float:
        if ticket.started is None:
            return ticket.deadline - time.monotonic()
        return min(self._end, ticket.started + self._inference_seconds) - time.monotonic()

    def _check_wait(self, ticket: Ticket) -> None:
        """Raise if the client has hung up or a time limit has passed."""
        if ticket.started is None:
            if ticket.is_gone():
                raise ClientGone
            if self._time_left(ticket) <= 0:
                raise self._too_slow()
        elif self._time_left(ticket) <= 0:
            if time.monotonic() >= self._end:
                assert self._refusal is not None  # ``_end`` is finite only after ``close``
                raise self._refusal()
            self.on_hang()
            raise TooSlow(
                f"The inference took longer than {self._inference_seconds:g} seconds "
                "(INFERENCE_TIMEOUT_SECONDS)"
            )
