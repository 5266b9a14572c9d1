# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The tickets of requests in the waiting room, and the choice of those that may prepare next.

All fields of a ticket are written while the lock of its waiting room is held.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

# A request whose images do not fit into the next batch is overtaken by at most this many later
# requests that do fit.
_MAX_OVERTAKEN = 8

FloatArray = NDArray[np.float32]
InputArray = FloatArray | NDArray[np.int64]


@dataclass(frozen=True)
class QueueFigures:
    """Requests in all workers together, for ``/health`` and the ``X-Queue-*`` headers.

    A frame of a film counts as in flight while the device runs it, and never as waiting.
    """

    concurrency: int
    in_flight: int
    waiting: int
    max_queue: int
    max_wait_seconds: float


@dataclass(eq=False)
class Ticket:
    """One request on its way to the device."""

    #: identifies the network; None: it needs no network, and so not the device
    key: str | None
    #: number of inputs, images or texts
    images: int
    #: tells whether the client has hung up
    is_gone: Callable[[], bool]
    #: whether it is a frame of a film, which lets all other requests pass
    is_background: bool = False
    #: number of inputs that may run as one batch; 0 until the network is loaded
    max_batch: int = 0
    #: when the request gives up waiting for its turn (monotonic seconds)
    deadline: float = math.inf
    #: whether the device was idle when the request came
    found_idle_device: bool = False
    #: set when the request may prepare its input, and also when it is finished
    may_prepare: threading.Event = field(default_factory=threading.Event)
    #: what the device needs: the loaded network, and its inputs: images as float32 [n, 3, h, w],
    #: texts as int64 [n, tokens]
    network: Any = None
    inputs: InputArray | None = None
    #: when the device took it (monotonic seconds); None while it waits
    taken: float | None = None
    #: start of its current pass through the network, for the time limit; None while it waits
    started: float | None = None
    #: whether its input takes long to prepare, so that another request may prepare in its place
    is_slow: bool = False
    #: number of later requests that were allowed to prepare before this one
    overtaken: int = 0
    done: threading.Event = field(default_factory=threading.Event)
    outputs: FloatArray | None = None
    error: BaseException | None = None

    @property
    def needs_device(self) -> bool:
        """Whether it waits for the device, and not only for a core or for another program."""
        return self.key is not None

    def finish(self, outcome: FloatArray | BaseException) -> None:
        """Wake the waiting caller with its outputs or its error."""
        # The caller may keep the ticket after the model is unloaded, so the references are dropped.
        self.network = self.inputs = None
        if isinstance(outcome, BaseException):
            self.error = outcome
        else:
            self.outputs = outcome
        self.may_prepare.set()
        self.done.set()

    def fits_into(self, batch: list[Ticket]) -> bool:
        """Whether it can join the batch: same network, same input shape, and the batch not full.

        Frames do not join photos, which would take longer with them.
        """
        first = batch[0]
        if self.is_background != first.is_background:
            return False
        if self.network is not first.network or self.inputs is None or first.inputs is None:
            return False
        images = sum(each.images for each in batch) + self.images
        return self.inputs.shape[1:] == first.inputs.shape[1:] and images <= first.max_batch


def allow_preparing(queue: Sequence[Ticket], concurrency: int) -> None:
    """Allow the oldest requests to prepare their input, but only as many as the device runs next.

    Args:
        queue: waiting tickets, the oldest first; those in the background are ignored, because their
            inputs are prepared before they enter.
        concurrency: number of batches that the device runs at the same time.
    """
    queue = [ticket for ticket in queue if not ticket.is_background]
    # For each network, the number of images of requests that may prepare their input already.
    ahead: dict[str | None, int] = {}
    for ticket in queue:
        if ticket.may_prepare.is_set() and not ticket.is_slow:
            ahead[ticket.key] = ahead.get(ticket.key, 0) + ticket.images
    passed: list[Ticket] = []
    for ticket in queue:
        if ticket.may_prepare.is_set() or not ticket.max_batch:
            continue
        if ticket.key not in ahead:
            fits = len(ahead) < concurrency
        else:
            room = ticket.max_batch * concurrency
            fits = ahead[ticket.key] + ticket.images <= room
        if fits:
            ahead[ticket.key] = ahead.get(ticket.key, 0) + ticket.images
            ticket.may_prepare.set()
            for other in passed:
                other.overtaken += 1
        elif ticket.overtaken >= _MAX_OVERTAKEN:
            return  # nobody may overtake it any more
        else:
            passed.append(ticket)
