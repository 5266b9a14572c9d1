# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Defines a waiting room with one device, for tests that send many requests to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from app.errors import NotAvailable
from app.host.shared_state import SharedState
from app.queueing.device_threads import DeviceThreads
from app.queueing.tickets import FloatArray, Ticket
from app.queueing.waiting_room import WaitingRoom


class Doubling:
    """A network whose outputs are twice its inputs; each batch waits until the test lets it run."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self._steps = threading.Semaphore(0)
        #: number of batches begun so far, including one that is waiting
        self.begun = 0
        self.batches: list[list[float]] = []
        self.fail: Callable[[FloatArray], None] = lambda _: None

    def step(self) -> None:
        """Let one batch run."""
        self._steps.release()

    def order(self) -> list[float]:
        return [number for batch in self.batches for number in batch]

    def infer(self, batch: FloatArray) -> FloatArray:
        self.begun += 1
        while not self.go.wait(0.001) and not self._steps.acquire(blocking=False):
            pass
        self.batches.append([float(each.flat[0]) for each in batch])
        self.fail(batch)
        return batch.reshape(len(batch), -1) * 2


class Place:
    """A waiting room with one device, and a pool of threads that send requests."""

    def __init__(self, max_queue: int = 100, wait: float = 60, inference: float = 60) -> None:
        self.shared = SharedState()
        self.room = WaitingRoom(self.shared, 1, 1, max_queue, wait, inference)
        self.model = Doubling()
        self.lost = False
        self.device = DeviceThreads(self.room, 1, self._lose)
        self.device.start()
        self.pool = ThreadPoolExecutor(64)
        self.called: list[float] = []

    def _lose(self) -> None:
        self.lost = True

    def ask(
        self,
        number: float,
        key: str = "a",
        max_batch: int = 4,
        is_gone: Callable[[], bool] = lambda: False,
        shape: tuple[int, ...] = (1,),
        *,
        background: bool = False,
    ) -> Future[float]:
        """Send a request in a new thread; return once it waits or has failed.

        It then waits for its turn or, if it has had that already, for the device.
        """
        tickets: list[Ticket] = []

        def call() -> float:
            with self.room.enter(key, 1, is_gone, background=background) as ticket:
                tickets.append(ticket)
                self.room.wait_for_turn(ticket, max_batch)
                self.called.append(number)
                inputs = np.full((1, *shape), number, np.float32)
                return float(self.room.run(ticket, self.model, inputs).flat[0])

        def waits() -> bool:
            with self.room._lock:
                if not tickets or not tickets[0].max_batch:
                    return False
                return number in self.called or not tickets[0].may_prepare.is_set()

        future = self.pool.submit(call)
        while not waits() and not future.done():
            time.sleep(0.001)
        return future

    def wait_until_busy(self) -> None:
        """Wait until the device has taken the first request."""
        while not self.room._running:
            time.sleep(0.001)

    def wait_until_ready(self, begun: int, count: int) -> None:
        """Wait until this many batches have begun and this many queued requests are prepared."""
        while self.model.begun < begun or self._prepared() < count:
            time.sleep(0.001)

    def _prepared(self) -> int:
        return sum(ticket.inputs is not None for ticket in self.room._queue)

    def wait_until_called(self, count: int) -> None:
        while len(self.called) < count:
            time.sleep(0.001)
        time.sleep(0.1)

    def close(self) -> None:
        self.model.go.set()
        self.room.close(lambda: NotAvailable("closed"))
        assert self.device.stop(60)
        self.pool.shutdown()
        self.shared.close()
