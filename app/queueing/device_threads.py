# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The threads that run inferences: each takes one batch at a time from the waiting room."""

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

#: Outputs [images, ...] of one ticket, or the error in their place.
Outcome = FloatArray | Exception


class DeviceThreads:
    """Runs all inferences of this worker.

    Request threads run none, because each thread that ran one would keep its own OpenMP pool and
    its own scratch memory.
    """

    def __init__(self, room: WaitingRoom, count: int, on_lost: Callable[[], None]) -> None:
        self._room = room
        self._on_lost = on_lost
        #: called after each pass of a network, with its number of inputs
        self.on_run: Callable[[LoadedNetwork, int], None] = lambda *_: None
        self._threads = [
            threading.Thread(target=self._work, name=f"device-{number}", daemon=True)
            for number in range(count)
        ]

    def start(self) -> None:
        """Start the threads. Call it after the fork: threads do not survive a fork."""
        for thread in self._threads:
            thread.start()

    def stop(self, seconds: float) -> bool:
        """Wait for the threads to end, after the waiting room was closed.

        Args:
            seconds: how long to wait for each thread.

        Returns:
            Whether all of them have ended.
        """
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(seconds)
        return not any(thread.is_alive() for thread in self._threads)

    def stacks(self) -> str:
        """The present call stack of each thread, as text for the log."""
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
        """Run one batch; returns False once the room is closed.

        This is a separate function, so that its local variables do not keep the batch in memory
        while the thread waits for the next one.
        """
        batch = self._room.take()
        if not batch:
            return False
        began = time.monotonic()
        outcomes: list[Outcome]
        try:
            outcomes = self._infer(batch)
        except Exception as error:  # for example, memory could not be freed after a failed batch
            outcomes = [self._failure(error)] * len(batch)
        self._room.finish(batch, began, outcomes)
        return True

    def _infer(self, batch: list[Ticket]) -> list[Outcome]:
        """Outputs or an error for each ticket. If a batch fails, each ticket is tried alone."""
        result = self._attempt(batch, batch)
        if isinstance(result, list):
            return result
        fault = faults.fault(result)
        if fault == "lost" or (fault is None and len(batch) == 1):
            return [self._failure(result)] * len(batch)
        log.warning("a batch of %d requests failed; trying each alone", len(batch), exc_info=result)
        del result  # its traceback keeps the tensors of the failed pass in memory
        if fault == "memory":
            memory.clean_up()
        alone: list[Outcome] = []
        for ticket in batch:
            outcome = self._attempt([ticket], batch)
            alone.append(outcome[0] if isinstance(outcome, list) else self._failure(outcome))
        return alone

    def _attempt(self, tickets: list[Ticket], batch: list[Ticket]) -> list[Outcome] | Exception:
        """Try to run some tickets of a batch together.

        The time limit applies to each pass of the network. The clock of all tickets of the batch
        restarts with each pass, because all of them wait for it.
        """
        try:
            network: LoadedNetwork = tickets[0].network
            inputs = [ticket.inputs for ticket in tickets if ticket.inputs is not None]
            images: Any = np.concatenate(inputs)
            max_batch = tickets[0].max_batch
            outputs = []
            # A single request may have more inputs than fit into one pass, so it takes several.
            for first in range(0, len(images), max_batch):
                self._room.restart_clock(batch)
                outputs.append(network.infer(images[first : first + max_batch]))
                self.on_run(network, len(outputs[-1]))
            rows = np.concatenate(outputs)
            ends = np.cumsum([len(each) for each in inputs])
            return list(np.split(rows, ends[:-1]))
        except Exception as error:
            return error

    def _failure(self, error: Exception) -> Exception:
        """The error that the caller gets in place of outputs."""
        fault = faults.fault(error)
        if fault == "memory":
            log.error(
                "a request ran out of memory, also alone and after freeing caches", exc_info=error
            )
            return _not_available("There is not enough memory for this request now")
        if fault == "lost":
            return report_lost_device(error, self._on_lost)
        return error


def report_lost_device(error: Exception, on_lost: Callable[[], None]) -> NotAvailable:
    """Start to replace this worker, whose device is lost, and return the error for the client.

    Args:
        error: how a thread noticed it.
        on_lost: starts the replacement of the worker.
    """
    log.critical("the device is lost", exc_info=error)
    on_lost()
    return _not_available("The device is lost, and this worker is being replaced")


def _not_available(message: str) -> NotAvailable:
    return NotAvailable(message, title="Not available", retry_after=_RETRY_AFTER_SECONDS)
