# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The waiting room: a bounded queue of requests for the device, first come, first served.

A request enters, may prepare its input shortly before the device becomes free for it, and then runs
in one batch with other requests for the same network. The device never waits for a batch to fill:
as soon as it is free, it takes the inputs that are ready. A request waits in the worker that its
client is connected to; the limit on waiting requests applies to all workers together.

Frames of films are background requests. The device takes one only when no other request is ready,
so that a photo waits for one frame at most. They have no time limit for their wait, they do not
count as waiting, and for the decision whether another request may enter or prepare, a device that
runs frames is idle.

Requests that need no device, such as previews, are in the queue only to be counted: as many as the
device takes at a time count as in flight, the others as waiting. They do not keep the device from
other requests.
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
from app.queueing.rate import Rate
from app.queueing.tickets import FloatArray, InputArray, QueueFigures, Ticket, allow_preparing

# How often a waiting request checks that its client is still connected.
_POLL_SECONDS = 1.0
# Requests are stuck when none has made progress for this many times the longest permitted wait.
_STALL_FACTOR = 2.0
# If the longest permitted wait is 0, this is used in its place to detect a stall.
_DEFAULT_WAIT_SECONDS = 60.0


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
    def enter(
        self, key: str | None, images: int, is_gone: Callable[[], bool], *, background: bool = False
    ) -> Iterator[Ticket]:
        """Put a request into the queue; it leaves the queue at the end of the ``with`` block.

        Args:
            key: identifies the network; None: it needs no network, and so not the device.
            images: number of inputs in the request.
            is_gone: tells whether the client has hung up.
            background: whether it lets all requests pass that are not in the background.

        Raises:
            Busy: ``max_queue`` requests already wait, in all workers together.
            TooSlow: it needs the device, which is busy, and the longest permitted wait is 0.
            NotAvailable: the waiting room is closed.
        """
        ticket = Ticket(key, images, is_gone, background)
        with self._lock:
            if self._refusal:
                raise self._refusal()
            if background:
                self._queue.append(ticket)
            # An idle device takes a request even where no request is allowed to wait.
            elif self._is_served_at_once(ticket):
                self._queue.append(ticket)
                self._publish()
                ticket.found_idle_device = True
            else:
                self._take_place(ticket)
                if self.max_wait_seconds == 0 and ticket.needs_device:
                    self._remove(ticket)
                    raise self._too_slow()
        try:
            yield ticket
        finally:
            with self._lock:
                self._remove(ticket)

    def wait_for_turn(self, ticket: Ticket, max_batch: int) -> None:
        """Wait until the request may prepare its input, because the device is free for it soon.

        A background request may do so at once.

        Args:
            ticket: from ``enter``.
            max_batch: number of inputs of its network that may run as one batch.

        Raises:
            TooSlow: no turn came in time.
            ClientGone: the client has hung up.
            NotAvailable: the room was closed.
        """
        with self._lock:
            if ticket.is_background:
                ticket.max_batch = max_batch
                return
            if not any(other.max_batch for other in self._waiting()) and not self._foreground():
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
            if not ticket.is_background:
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

    def check_open(self) -> None:
        """Raise what requests are refused with, once the room is closed."""
        if self._refusal:
            raise self._refusal()

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

        Background requests and requests whose model is still loading do not count. While an
        inference runs there is no stall, because inferences have their own time limit.
        """
        limit = _STALL_FACTOR * (self.max_wait_seconds or _DEFAULT_WAIT_SECONDS)
        with self._lock:
            waiting = [ticket for ticket in self._waiting() if ticket.max_batch]
            since = time.monotonic() - self._progress_at
            # Requests that are not ready yet do not wait for the frames that run.
            is_ready = any(ticket.inputs is not None for ticket in waiting)
            is_running = bool(self._running if is_ready else self._foreground())
            if not waiting or is_running or since <= limit:
                return None
        return f"{len(waiting)} requests wait, and none has made progress for {since:.0f} s"

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
            Tickets of one network whose inputs have one shape, the oldest first; either all or
            none of them in the background. The list is empty once the room is closed.
        """
        with self._lock:
            while True:
                batch = self._next_batch()
                if batch:
                    now = time.monotonic()
                    for ticket in batch:
                        self._queue.remove(ticket)
                        ticket.taken = ticket.started = now
                    self._running.append(batch)
                    if not batch[0].is_background:
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
            if not batch[0].is_background:
                self._progress_at = time.monotonic()
                self._rate.note(began, len(batch))
            self._publish()
            allow_preparing(self._queue, self._concurrency)
            # Callers wake last, so that a client's immediate next request finds the device free.
            for ticket, outcome in zip(batch, outcomes, strict=True):
                ticket.finish(outcome)

    def _too_slow(self) -> TooSlow:
        return TooSlow(
            f"No turn within {self.max_wait_seconds:g} seconds (IMAGE_EMBEDDER_MAX_WAIT_SECONDS)",
            code="queue_timeout",
        )

    # -- internal; the caller holds the lock ---------------------------------------------------

    def _waiting(self) -> list[Ticket]:
        """The queued requests that need the device and are not in the background."""
        return [each for each in self._queue if each.needs_device and not each.is_background]

    def _without_device(self) -> int:
        """The number of requests that do not need the device."""
        return sum(not ticket.needs_device for ticket in self._queue)

    def _foreground(self) -> list[list[Ticket]]:
        """The running batches that are not in the background."""
        return [batch for batch in self._running if not batch[0].is_background]

    def _idle(self) -> int:
        return self._concurrency - len(self._foreground())

    def _is_served_at_once(self, ticket: Ticket) -> bool:
        if ticket.needs_device:
            return len(self._waiting()) < self._idle()
        return self._without_device() < self._concurrency

    def _take_place(self, ticket: Ticket) -> None:
        with self._shared.locked():
            waiting = self._shared.total("waiting")
            if waiting >= self._max_queue:
                raise Busy(
                    f"{waiting} requests wait already (IMAGE_EMBEDDER_MAX_QUEUE); try again later",
                    retry_after=self._rate.seconds_for(waiting + 1, self.max_wait_seconds),
                    code="queue_full",
                )
            self._queue.append(ticket)
            self._publish()

    def _publish(self) -> None:
        # The oldest queued requests count as in flight if the device is free for them. Background
        # requests count only while they run.
        waiting, others = len(self._waiting()), self._without_device()
        served = min(waiting, self._idle()) + min(others, self._concurrency)
        running = sum(len(batch) for batch in self._running)
        self._shared.set("in_flight", running + served)
        self._shared.set("waiting", waiting + others - served)

    def _remove(self, ticket: Ticket) -> None:
        if ticket in self._queue:
            self._queue.remove(ticket)
            self._publish()
            allow_preparing(self._queue, self._concurrency)

    def _next_batch(self) -> list[Ticket]:
        batch: list[Ticket] = []
        ready = [each for each in self._queue if each.inputs is not None]
        for ticket in sorted(ready, key=lambda each: each.is_background):
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
                "(INFERENCE_TIMEOUT_SECONDS)",
                code="inference_timeout",
            )
