# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""A request on its way through the waiting room, and how many there are."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

# So many that fit into the next batch may go before one that does not.
_MOST_OVERTAKEN = 8

FloatArray = NDArray[np.float32]
InputArray = FloatArray | NDArray[np.int64]


@dataclass(frozen=True)
class QueueFigures:
    """What ``/health`` and the ``X-Queue-*`` headers show: requests, summed over all workers."""

    concurrency: int
    in_flight: int
    waiting: int
    max_queue: int
    max_wait_seconds: float


@dataclass(eq=False)
class Ticket:
    """One request on its way to the device."""

    key: str
    images: int
    is_gone: Callable[[], bool]
    #: images that may run together; 0 as long as it does not ask for its turn
    max_batch: int = 0
    #: monotonic seconds at which it gives up its wait for a turn
    deadline: float = math.inf
    #: whether it found a free device when it came
    is_next: bool = False
    may_prepare: threading.Event = field(default_factory=threading.Event)
    #: what the device needs: the loaded network, and [images, 3, h, w] float32 or, of texts,
    #: [texts, tokens] int64
    network: Any = None
    inputs: InputArray | None = None
    #: when the pass of the network that it is in began
    started: float | None = None
    #: called, but it takes long to prepare: others are called in its place
    is_aside: bool = False
    #: how many that came later were called before it
    overtaken: int = 0
    done: threading.Event = field(default_factory=threading.Event)
    outputs: FloatArray | None = None
    error: BaseException | None = None

    def finish(self, outcome: FloatArray | BaseException) -> None:
        """Give the waiting caller its outputs, or what went wrong."""
        # The model may be unloaded while the caller still has its ticket.
        self.network = self.inputs = None
        if isinstance(outcome, BaseException):
            self.error = outcome
        else:
            self.outputs = outcome
        self.may_prepare.set()
        self.done.set()

    def fits_into(self, batch: list[Ticket]) -> bool:
        """Whether it can run with these: same model, same shape of input, not too many."""
        first = batch[0]
        if self.network is not first.network or self.inputs is None or first.inputs is None:
            return False
        images = sum(each.images for each in batch) + self.images
        return self.inputs.shape[1:] == first.inputs.shape[1:] and images <= first.max_batch


def call(queue: Sequence[Ticket], concurrency: int) -> None:
    """Call as many to prepare as the device takes next, in the order of arrival.

    Args:
        queue: tickets that wait, the oldest first.
        concurrency: batches that the device runs at a time.
    """
    ahead: dict[str, int] = {}
    for ticket in queue:
        if ticket.may_prepare.is_set() and not ticket.is_aside:
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
        elif ticket.overtaken >= _MOST_OVERTAKEN:
            return  # it is next
        else:
            passed.append(ticket)
