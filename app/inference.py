# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The device's side of the waiting room: threads that run one batch at a time, and their faults."""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections.abc import Callable

import numpy as np

from app import memory
from app.admission import WaitingRoom
from app.errors import NotAvailable
from app.models import devices
from app.models.base import Model
from app.tickets import FloatArray, Ticket

log = logging.getLogger("twinlens.inference")

_RETRY_AFTER_SECONDS = 10


class DeviceThreads:
    """Inference stays on these threads: every other thread that ran it would keep an OpenMP pool
    and scratch memory of its own.
    """

    def __init__(self, room: WaitingRoom, count: int, on_lost: Callable[[], None]) -> None:
        self._room = room
        self._on_lost = on_lost
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
        while batch := self._room.take():
            try:
                self._infer(batch)
            finally:
                self._room.done(batch)

    def _infer(self, batch: list[Ticket]) -> None:
        """Give each ticket its outputs or an error; one that fails does not fail the others."""
        try:
            self._together(batch)
        except Exception as error:
            if devices.fault(error) == "memory":
                log.warning("out of memory; freeing caches and trying again, each alone")
                memory.clean_up()
            elif len(batch) > 1 and devices.fault(error) is None:
                log.warning("a batch of %d failed; trying each alone", len(batch), exc_info=error)
            else:
                for ticket in batch:
                    self._fail(ticket, error)
                return
            for ticket in batch:
                self._alone(ticket)

    def _alone(self, ticket: Ticket) -> None:
        try:
            self._together([ticket])
        except Exception as error:
            self._fail(ticket, error)

    def _fail(self, ticket: Ticket, error: Exception) -> None:
        fault = devices.fault(error)
        if fault == "memory":
            log.error("out of memory also alone, after freeing caches", exc_info=error)
            memory.clean_up()
            error = _not_now("There is not enough memory for this request now")
        elif fault == "lost":
            log.critical("the device is lost", exc_info=error)
            error = _not_now("The device is lost, and this worker is being replaced")
        ticket.finish(None, error)
        if fault == "lost":
            self._on_lost()

    @staticmethod
    def _together(batch: list[Ticket]) -> None:
        model: Model = batch[0].model
        inputs: FloatArray = np.concatenate(
            [ticket.inputs for ticket in batch if ticket.inputs is not None]
        )
        most = batch[0].together
        # Only a batch of one request may be larger than what runs together.
        outputs = [model.infer(inputs[i : i + most]) for i in range(0, len(inputs), most)]
        rows = iter(np.concatenate(outputs))
        for ticket in batch:
            ticket.finish(np.stack([next(rows) for _ in range(ticket.images)]))


def _not_now(message: str) -> NotAvailable:
    return NotAvailable(message, title="Not available", retry_after=_RETRY_AFTER_SECONDS)
