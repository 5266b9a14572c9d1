# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The waiting room: one for all workers, bounded, first come first served.

A request enters, is called to prepare its input when the device is about to need it, and then runs
with others that wait for the same model as one batch. Nobody waits for a batch to fill: the device
takes what is there when it is free. A request waits in the worker that its client is connected to,
but the places are counted over all workers.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from app.errors import Busy, ClientGone, TooSlow, TwinlensError
from app.host.shared_state import SharedState
from app.queueing.rate import Rate
from app.queueing.tickets import FloatArray, InputArray, QueueFigures, Ticket, call

# How often a waiting request looks whether its client is still there.
_LOOK_SECONDS = 1.0
# So many times the longest wait without any progress: something is stuck.
_STALLS = 2.0
# In place of the longest wait where that is 0.
_USUAL_WAIT_SECONDS = 60.0


class WaitingRoom:
    """The part of the room that belongs to this worker; ``shared`` counts the places of all."""

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
        #: when a request last got further: a file of it was decoded, or it was prepared, begun by
        #: the device, or done (monotonic seconds)
        self._moved_at = time.monotonic()
        self._refusal: Callable[[], TwinlensError] | None = None
        self._end = math.inf
        #: called with a batch whose inference takes longer than it may
        self.on_hang: Callable[[], None] = lambda: None

    # -- the caller's side ---------------------------------------------------------------------

    @contextmanager
    def enter(self, key: str, images: int, is_gone: Callable[[], bool]) -> Iterator[Ticket]:
        """Take a place.

        Args:
            key: of the model.
            images: how many it brings.
            is_gone: tells whether the client has hung up.

        Raises:
            Busy: ``max_queue`` requests wait already, in all workers together.
            TooSlow: no device is free, and no request may wait.
            NotAvailable: the room is closed.
        """
        ticket = Ticket(key, images, is_gone)
        with self._lock:
            if self._refusal:
                raise self._refusal()
            # A place at an idle device is free also where nobody may wait.
            if len(self._queue) < self._idle():
                self._queue.append(ticket)
                self._publish()
                ticket.is_next = True
            else:
                self._take_place(ticket)
                if self.max_wait_seconds == 0:
                    self._forget(ticket)
                    raise self._too_slow()
        try:
            yield ticket
        finally:
            with self._lock:
                self._forget(ticket)

    def wait_for_turn(self, ticket: Ticket, max_batch: int) -> None:
        """Until the device will soon be free for it: time to prepare the input.

        Args:
            ticket: from ``enter``.
            together: images of its model that may run as one batch.

        Raises:
            TooSlow: no turn came in time.
            ClientGone: the client has hung up.
            NotAvailable: the room was closed.
        """
        with self._lock:
            if not any(other.max_batch for other in self._queue) and not self._running:
                self._moved_at = time.monotonic()  # nobody waited until now
            ticket.max_batch = max_batch
            # Without time to wait, a request that found a free device still gets its turn there.
            if not (ticket.is_next and self.max_wait_seconds == 0):
                ticket.deadline = time.monotonic() + self.max_wait_seconds
            call(self._queue, self._concurrency)
        self._wait(ticket, ticket.may_prepare)

    def run(self, ticket: Ticket, network: Any, inputs: InputArray) -> FloatArray:
        """Have the device compute the outputs [images, ...] of the inputs, see ``Ticket``.

        Raises:
            TooSlow: the wait, or the inference, took too long.
            ClientGone, NotAvailable: as above; NotAvailable also where the device gave up.
            Exception: the model failed.
        """
        with self._lock:
            ticket.network, ticket.inputs = network, inputs
            self._moved_at = time.monotonic()
            self._prepared.notify()
        self._wait(ticket, ticket.done)
        assert ticket.outputs is not None
        return ticket.outputs

    def check_cancelled(self, ticket: Ticket) -> None:
        """For a caller that waits for something else: whether it still should.

        Raises:
            ClientGone, NotAvailable: as above.
        """
        with self._lock:
            if ticket.error is not None:
                raise ticket.error
            self._look(ticket)

    def set_aside(self, ticket: Ticket) -> None:
        """Its input takes long to prepare: the device shall not wait for it."""
        with self._lock:
            ticket.is_aside = True
            call(self._queue, self._concurrency)

    def moved(self) -> None:
        """A request got further on its way to the device, or after it; see ``stall``."""
        with self._lock:
            self._moved_at = time.monotonic()

    def figures(self) -> QueueFigures:
        """The state of this moment, of all workers together."""
        return QueueFigures(
            self._concurrency * self._workers,
            self._shared.total("in_flight"),
            self._shared.total("waiting"),
            self._max_queue,
            self.max_wait_seconds,
        )

    def stall(self) -> str | None:
        """Why this worker is not healthy: requests wait, and for long none got any further.

        Loading a model is no stall, nor is an inference within its own limit.
        """
        limit = _STALLS * (self.max_wait_seconds or _USUAL_WAIT_SECONDS)
        with self._lock:
            waiting = [ticket for ticket in self._queue if ticket.max_batch]
            since = time.monotonic() - self._moved_at
            if not waiting or self._running or since <= limit:
                return None
        return f"{len(waiting)} requests wait, and none got any further for {since:.0f} s"

    def is_empty(self) -> bool:
        """Whether this worker has nothing to do."""
        return not self._queue and not self._running

    def close(
        self, refusal: Callable[[], TwinlensError], running_seconds: float = math.inf
    ) -> None:
        """Refuse who waits and who comes; what runs may take so many more seconds."""
        with self._lock:
            self._refusal = refusal
            self._end = min(self._end, time.monotonic() + running_seconds)
            for ticket in self._queue.copy():
                self._forget(ticket)
                ticket.finish(refusal())
            self._prepared.notify_all()

    # -- the device's side ---------------------------------------------------------------------

    def take(self) -> list[Ticket]:
        """Wait until something is prepared, and take what may run together.

        Returns:
            Tickets of one model whose inputs have one shape, the oldest first; none at the end.
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
                    self._moved_at = now
                    self._publish()
                    call(self._queue, self._concurrency)
                    return batch
                if self._refusal:
                    return []
                self._prepared.wait()

    def done(self, batch: list[Ticket], began: float) -> None:
        """The device is free again of the batch that it began at ``began``."""
        with self._lock:
            self._running.remove(batch)
            self._moved_at = time.monotonic()
            self._rate.note(began, len(batch))
            self._publish()
            call(self._queue, self._concurrency)

    def _too_slow(self) -> TooSlow:
        return TooSlow(
            f"No turn within {self.max_wait_seconds:g} seconds (IMAGE_EMBEDDER_MAX_WAIT_SECONDS)"
        )

    # -- inside; the caller holds the lock -----------------------------------------------------

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
        served = min(len(self._queue), self._idle())  # the device is free for them
        running = sum(len(batch) for batch in self._running)
        self._shared.set("in_flight", running + served)
        self._shared.set("waiting", len(self._queue) - served)

    def _forget(self, ticket: Ticket) -> None:
        if ticket in self._queue:
            self._queue.remove(ticket)
            self._publish()
            call(self._queue, self._concurrency)

    def _next_batch(self) -> list[Ticket]:
        batch: list[Ticket] = []
        for ticket in [each for each in self._queue if each.inputs is not None]:
            if ticket.is_gone():
                self._forget(ticket)
                ticket.finish(ClientGone())
            elif not batch or ticket.fits_into(batch):
                batch.append(ticket)
        return batch

    # -- waiting; without the lock -------------------------------------------------------------

    def _wait(self, ticket: Ticket, event: threading.Event) -> None:
        while not event.wait(min(_LOOK_SECONDS, max(0.01, self._time_left(ticket)))):
            with self._lock:
                if not event.is_set():
                    self._look(ticket)
        if ticket.error is not None:
            raise ticket.error

    def _time_left(self, ticket: Ticket) -> float:
        if ticket.started is None:
            return ticket.deadline - time.monotonic()
        return min(self._end, ticket.started + self._inference_seconds) - time.monotonic()

    def _look(self, ticket: Ticket) -> None:
        """Whether there is still a reason to wait."""
        if ticket.started is None:
            if ticket.is_gone():
                raise ClientGone
            if self._time_left(ticket) <= 0:
                raise self._too_slow()
        elif self._time_left(ticket) <= 0:
            if time.monotonic() >= self._end:
                assert self._refusal is not None  # only closing sets an end
                raise self._refusal()
            self.on_hang()
            raise TooSlow(
                f"The inference took longer than {self._inference_seconds:g} seconds "
                "(INFERENCE_TIMEOUT_SECONDS)"
            )
