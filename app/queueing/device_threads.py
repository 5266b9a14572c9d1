# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The device's side of the waiting room: threads that run one batch at a time, and their faults."""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np

from app.errors import NotAvailable
from app.host import faults, memory
from app.lending.loaded import LoadedNetwork
from app.queueing.tickets import FloatArray, Ticket
from app.queueing.waiting_room import WaitingRoom

log = logging.getLogger("twinlens.inference")

_RETRY_AFTER_SECONDS = 10

#: Rows [images, ...] of one ticket, or why there are none.
Outcome = FloatArray | Exception


class DeviceThreads:
    """Inference stays on these threads: every other thread that ran it would keep an OpenMP pool
    and scratch memory of its own.
    """

    def __init__(self, room: WaitingRoom, count: int, on_lost: Callable[[], None]) -> None:
        self._room = room
        self._on_lost = on_lost
        #: told how many inputs a pass of a network had
        self.on_run: Callable[[LoadedNetwork, int], None] = lambda *_: None
        self._threads = [
            threading.Thread(target=self._work, name=f"device-{number}", daemon=True)
            for number in range(count)
        ]

    def start(self) -> None:
        """In the process that serves; threads from before a fork do not exist after it."""
        for thread in self._threads:
            thread.start()

    def stop(self, seconds: float) -> bool:
        """After the room was closed: whether all came to their end in time."""
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(seconds)
        return not any(thread.is_alive() for thread in self._threads)

    def stacks(self) -> str:
        """Where each thread is at this moment, for the log."""
        frames = sys._current_frames()
        texts = [
            f"{thread.name}:\n{''.join(traceback.format_stack(frames[thread.ident]))}"
            for thread in self._threads
            if thread.ident in frames
        ]
        return "\n".join(texts)

    def _work(self) -> None:
        while self._next():
            pass

    def _next(self) -> bool:
        """One batch; a function of its own, so that nothing of it is kept while waiting."""
        batch = self._room.take()
        if not batch:
            return False
        began = time.monotonic()
        outcomes: list[Outcome]
        try:
            outcomes = self._infer(batch)
        except Exception as error:  # freeing memory failed, too
            outcomes = [self._failure(error)] * len(batch)
        # First the place, then the answer: who asks again at once finds it free.
        self._room.done(batch, began)
        for ticket, outcome in zip(batch, outcomes, strict=True):
            ticket.finish(outcome)
        return True

    def _infer(self, batch: list[Ticket]) -> list[Outcome]:
        """Outputs or an error for each ticket; one that fails does not fail the others."""
        result = self._attempt(batch, batch)
        if isinstance(result, list):
            return result
        fault = faults.fault(result)
        if fault == "lost" or (fault is None and len(batch) == 1):
            return [self._failure(result)] * len(batch)
        log.warning("a batch of %d failed; trying each alone", len(batch), exc_info=result)
        del result  # its traceback holds what the failed pass had in memory
        if fault == "memory":
            memory.clean_up()
        alone: list[Outcome] = []
        for ticket in batch:
            outcome = self._attempt([ticket], batch)
            alone.append(outcome[0] if isinstance(outcome, list) else self._failure(outcome))
        return alone

    def _attempt(self, tickets: list[Ticket], batch: list[Ticket]) -> list[Outcome] | Exception:
        """One try; the clock of the whole batch begins anew with each pass of the network."""
        try:
            network: LoadedNetwork = tickets[0].network
            inputs = [ticket.inputs for ticket in tickets if ticket.inputs is not None]
            images: Any = np.concatenate(inputs)
            most = tickets[0].max_batch
            outputs = []
            # Only a batch of one request may be larger than what runs together.
            for first in range(0, len(images), most):
                for ticket in batch:
                    ticket.started = time.monotonic()
                outputs.append(network.infer(images[first : first + most]))
                self.on_run(network, len(outputs[-1]))
            rows = np.concatenate(outputs)
            ends = np.cumsum([len(each) for each in inputs])
            return list(np.split(rows, ends[:-1]))
        except Exception as error:
            return error

    def _failure(self, error: Exception) -> Exception:
        """What the caller is told."""
        fault = faults.fault(error)
        if fault == "memory":
            log.error("out of memory also alone, after freeing caches", exc_info=error)
            return _not_now("There is not enough memory for this request now")
        if fault == "lost":
            return lost(error, self._on_lost)
        return error


def lost(error: Exception, on_lost: Callable[[], None]) -> NotAvailable:
    """A thread has found the device lost: have this worker replaced; what its caller is told."""
    log.critical("the device is lost", exc_info=error)
    on_lost()
    return _not_now("The device is lost, and this worker is being replaced")


def _not_now(message: str) -> NotAvailable:
    return NotAvailable(message, title="Not available", retry_after=_RETRY_AFTER_SECONDS)
