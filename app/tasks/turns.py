# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""A request's turn: a place in the waiting room, a loaded network, and its time on the device."""

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
from app.queueing.device_threads import lost
from app.queueing.tickets import Ticket
from app.queueing.waiting_room import WaitingRoom
from app.rendering.options import Size
from app.tasks.results import Timings
from app.workers.orders import Workers

#: Tells whether the client has hung up.
IsGone = Callable[[], bool]

# How often a wait for a core asks whether it should go on.
_LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class Turn:
    """What a request holds while it has its turn."""

    turns: Turns
    ticket: Ticket
    loaded: LoadedNetwork
    timings: Timings

    def check_cancelled(self) -> None:
        """Raises a TwinlensError where the answer is not wanted any more, or comes too late."""
        self.turns.room.check_cancelled(self.ticket)

    def decode(
        self, file: BinaryIO, decode_size: DecodeSize, steps: Callable[[Size], Steps]
    ) -> Pixels:
        """A client's file as an upright picture, decoded by another process.

        That process also does the steps, unless the device is faster.

        Args:
            file: see ``app.decoding.pool``.
            enough: how large it must be decoded, see ``app.pictures.decode.decode``.
            steps: what the family does first with a photo of some size.
        """

        def plan(decoded: Size, full: Size) -> Sequence[Step] | None:
            todo = steps(full)  # raises where the family cannot take this photo
            if self.loaded.network.images.works_on(decoded[0] * decoded[1]):
                return None
            done = todo(Outline(decoded))
            assert isinstance(done, Outline)
            return done.steps

        decode_size = in_full if self.turns.exact_decode else decode_size
        set_aside = partial(self.turns.room.set_aside, self.ticket)
        return self.turns.decode(
            file, Job(decode_size, plan, self.check_cancelled, set_aside), self.timings
        )

    @contextmanager
    def preparing(self) -> Iterator[None]:
        """Around image work before the inference, which a GPU may do: it takes a core.

        Raises:
            NotAvailable: the device is lost.
        """
        with (
            self.turns.core(self.check_cancelled),
            self.timings.stage("prepare"),
            self.turns.device_faults(),
        ):
            yield

    def infer(self, inputs: InputArray) -> FloatArray:
        """Run the network on inputs [n, ...], perhaps with those of other requests.

        Raises:
            TwinlensError: the wait or the inference took too long, or the device failed.
        """
        prepared = time.monotonic()
        self.ticket.images = len(inputs)
        outputs = self.turns.room.run(self.ticket, self.loaded, inputs)
        assert self.ticket.started is not None
        self.timings.wait += self.ticket.started - prepared
        self.timings.infer = time.monotonic() - self.ticket.started
        return outputs


class Turns:
    """What all tasks need of the service around them."""

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
        #: photos are never decoded smaller than they are
        self.exact_decode = exact_decode
        self._manager = manager
        self._workers = workers
        self._decoders = decoders
        # Preparing and encoding take a core each and, for a large photo, much memory.
        self._cores = threading.BoundedSemaphore(cores)
        #: told that the device is lost for this process
        self.on_lost: Callable[[], None] = lambda: None
        #: set when memory was used that may be given back later
        self.worked = threading.Event()

    @contextmanager
    def wait(self, id: NetworkId, count: int, is_gone: IsGone, timings: Timings) -> Iterator[Turn]:
        """Wait for a turn with a network, which is loaded meanwhile if need be.

        Args:
            id: of the network.
            count: inputs that the request brings.
            is_gone: tells whether the client has hung up.
            timings: where the wait is noted.

        Raises:
            TwinlensError: there is no place, no network or no turn in time.
        """
        self._manager.check(id)
        entered = self.room.enter(str(id), count, is_gone)
        with (
            entered as ticket,
            self._workers.lease(id, partial(self.room.check_cancelled, ticket)) as loaded,
        ):
            started = time.monotonic()
            self.room.wait_for_turn(ticket, loaded.max_batch())
            timings.wait = time.monotonic() - started
            self.worked.set()
            yield Turn(self, ticket, loaded, timings)

    def decode(self, file: BinaryIO, job: Job, timings: Timings) -> Pixels:
        """See ``Decoders.decode``; the wait for a decoder is not counted."""
        pixels = self._decoders.decode(file, job)
        self.room.moved()
        timings.decode += pixels.seconds
        return pixels

    def decode_again(
        self, file: BinaryIO, size: Size, check_cancelled: Callable[[], None], timings: Timings
    ) -> Pixels:
        """After the inference: a photo once more, in this size. Nobody held it meanwhile."""
        plan: Plan = lambda *_: Outline(size).resize(size).steps  # noqa: E731
        return self.decode(file, Job(lambda *_: size, plan, check_cancelled), timings)

    def patience(self, is_gone: IsGone) -> Callable[[], None]:
        """For waits after the inference: raises where the client is gone or waits for too long."""
        seconds = self.room.max_wait_seconds
        # Where nobody may wait for a device, this is no such wait, and all else has its own limit.
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
        """Hold one of the worker's cores; ``check_cancelled`` may raise to end the wait for it."""
        while not self._cores.acquire(timeout=_LOOK_SECONDS):
            check_cancelled()
        try:
            yield
        finally:
            self._cores.release()

    @contextmanager
    def device_faults(self) -> Iterator[None]:
        """Around image work, which a GPU may do. Raises NotAvailable where the device is lost."""
        try:
            yield
        except RuntimeError as error:
            if fault(error) != "lost":
                raise
            raise lost(error, self.on_lost) from None
