# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""What every task does around its own steps: wait for a turn, decode, hold a core, infer.

A request has its *turn* from the moment it may prepare its input until its inference is done.
Meanwhile it holds a ticket of the waiting room and a loaded network.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

from app.decoding.job import Job, Pixels, Plan
from app.decoding.pool import Decoders
from app.engines.base import FloatArray, InputArray
from app.errors import ClientGone, TooSlow
from app.host.faults import fault
from app.lending.loaded import LoadedNetwork
from app.lending.manager import Manager
from app.models.base import NetworkId
from app.pictures.canvas import Steps
from app.pictures.decode import DecodeSize, in_full
from app.pictures.steps import Outline, Step
from app.queueing.device_threads import report_lost_device
from app.queueing.tickets import Ticket
from app.queueing.waiting_room import WaitingRoom
from app.rendering.options import Size
from app.tasks.results import Timings
from app.workers.orders import Workers

#: Tells whether the client has hung up.
IsGone = Callable[[], bool]

# How often a request that waits for a core checks whether it was cancelled.
_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Turn:
    """The ticket and the loaded network of a request that has its turn."""

    turns: Turns
    ticket: Ticket
    loaded: LoadedNetwork
    timings: Timings

    def check_cancelled(self) -> None:
        """Raise a TwinlensError if the client has hung up or the request has waited too long."""
        self.turns.room.check_cancelled(self.ticket)

    def decode(
        self, file: BinaryIO, decode_size: DecodeSize, steps: Callable[[Size], Steps]
    ) -> Pixels:
        """Decode a client's file to an upright picture, in another process.

        That process also does the family's first image steps, unless the device does them faster.

        Args:
            file: see ``app.decoding.pool``.
            decode_size: the size to decode at, see ``app.pictures.decode.decode``.
            steps: the family's first image steps for a photo of a given size.
        """

        def plan(decoded: Size, full: Size) -> Sequence[Step] | None:
            todo = steps(full)  # raises if the family does not support a photo of this size
            if self.loaded.network.images.works_on(decoded[0] * decoded[1]):
                return None
            done = todo(Outline(decoded))
            assert isinstance(done, Outline)
            return done.steps

        decode_size = in_full if self.turns.exact_decode else decode_size
        on_slow = partial(self.turns.room.mark_slow, self.ticket)
        return self.turns.decode(
            file, Job(decode_size, plan, self.check_cancelled, on_slow), self.timings
        )

    @contextmanager
    def preparing(self) -> Iterator[None]:
        """Hold a core for image work before the inference.

        Raises:
            NotAvailable: a GPU did the image work, and it is lost.
        """
        with (
            self.turns.core(self.check_cancelled),
            self.timings.stage("prepare"),
            self.turns.device_faults(),
        ):
            yield

    def infer(self, inputs: InputArray) -> FloatArray:
        """Run the network on inputs [n, ...], possibly in one batch with other requests.

        Raises:
            TwinlensError: the wait or the inference took too long, or the device failed.
        """
        prepared = time.monotonic()
        outputs = self.turns.room.run(self.ticket, self.loaded, inputs)
        assert self.ticket.taken is not None
        self.timings.wait += self.ticket.taken - prepared
        self.timings.infer = time.monotonic() - self.ticket.taken
        return outputs


class Turns:
    """The steps that all tasks share, and the parts of the service that these steps use."""

    def __init__(
        self,
        room: WaitingRoom,
        manager: Manager,
        workers: Workers,
        decoders: Decoders,
        cores: int,
        exact_decode: bool,
    ) -> None:
        self.room = room
        #: whether to decode photos in full size even where the network needs fewer pixels
        self.exact_decode = exact_decode
        self._manager = manager
        self._workers = workers
        self._decoders = decoders
        # Limits how many requests prepare or encode at the same time: each keeps one core busy
        # and, for a large photo, takes much memory.
        self._cores = threading.BoundedSemaphore(cores)
        #: called when the device is lost for this process
        self.on_lost: Callable[[], None] = lambda: None
        #: set by each request; housekeeping later clears it and frees idle memory
        self.worked = threading.Event()

    def loaded(self, id: NetworkId) -> LoadedNetwork | None:
        """The network if it is loaded now, to ask it something; only a turn may run it."""
        return self._manager.loaded(id)

    @contextmanager
    def wait(
        self,
        id: NetworkId,
        count: int,
        is_gone: IsGone,
        timings: Timings,
        *,
        background: bool = False,
    ) -> Iterator[Turn]:
        """Wait for a turn with a network, which is loaded first if necessary.

        Args:
            id: the network.
            count: number of inputs in the request.
            is_gone: tells whether the client has hung up.
            timings: receives the duration of the wait, not counting the load.
            background: whether the inputs are frames of a film, which let all photos pass.

        Raises:
            TwinlensError: the waiting room is full, the network cannot be loaded, or no turn came
                in time.
        """
        self._manager.check(id)
        entered = self.room.enter(str(id), count, is_gone, background=background)
        with (
            entered as ticket,
            self._workers.lease(id, partial(self.room.check_cancelled, ticket)) as loaded,
        ):
            started = time.monotonic()
            self.room.wait_for_turn(ticket, loaded.max_batch())
            timings.wait = time.monotonic() - started
            self.worked.set()
            yield Turn(self, ticket, loaded, timings)

    @contextmanager
    def wait_for_core(self, is_gone: IsGone) -> Iterator[Callable[[], None]]:
        """Wait for one of the worker's cores with a request that needs no network.

        It holds a place in the waiting room, so that the limit on waiting requests counts for it.

        Yields:
            A function that raises if the client has hung up or the service closes.

        Raises:
            TwinlensError: the waiting room is full, or no core became free in time.
        """
        with self.room.enter(None, 1, is_gone) as ticket:
            deadline = self.deadline_check(is_gone)

            def check_cancelled() -> None:
                self.room.check_cancelled(ticket)
                deadline()

            with self.core(check_cancelled):
                self.worked.set()
                yield check_cancelled

    def decode(self, file: BinaryIO, job: Job, timings: Timings) -> Pixels:
        """Decode a file, see ``Decoders.decode``; timings exclude the wait for a decoder."""
        pixels = self._decoders.decode(file, job)
        self.room.note_progress()
        timings.decode += pixels.seconds
        return pixels

    def decode_again(
        self, file: BinaryIO, size: Size, check_cancelled: Callable[[], None], timings: Timings
    ) -> Pixels:
        """Decode a photo once more, in this size.

        It is for work after the inference: the decoded photo is too large to keep until then.
        """
        plan: Plan = lambda *_: Outline(size).resize(size).steps  # noqa: E731
        return self.decode(file, Job(lambda *_: size, plan, check_cancelled), timings)

    def deadline_check(self, is_gone: IsGone) -> Callable[[], None]:
        """A function that raises if the client has hung up or waits too long after the inference.

        The longest wait, IMAGE_EMBEDDER_MAX_WAIT_SECONDS, begins anew when this is called.
        """
        seconds = self.room.max_wait_seconds
        # 0 means that no request may wait for the device; it does not limit waits for a core.
        end = time.monotonic() + (seconds or math.inf)

        def check_cancelled() -> None:
            if is_gone():
                raise ClientGone
            if time.monotonic() > end:
                raise TooSlow(
                    f"The result was not finished within {seconds:g} seconds "
                    "(IMAGE_EMBEDDER_MAX_WAIT_SECONDS)"
                )

        return check_cancelled

    @contextmanager
    def core(self, check_cancelled: Callable[[], None]) -> Iterator[None]:
        """Hold one of the worker's cores; ``check_cancelled`` may raise to end the wait for one."""
        while not self._cores.acquire(timeout=_POLL_SECONDS):
            check_cancelled()
        try:
            yield
        finally:
            self._cores.release()

    @contextmanager
    def device_faults(self) -> Iterator[None]:
        """Turn the error of a lost GPU into NotAvailable; it is for image work on a device."""
        try:
            yield
        except RuntimeError as error:
            if fault(error) != "lost":
                raise
            raise report_lost_device(error, self.on_lost) from None
