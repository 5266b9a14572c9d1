# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests how maps are given to a film's process that does not read them."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress

import numpy as np
import pytest

from app.decoding.wire import Wire
from app.errors import ProcessingFailed
from app.video import depths
from app.video.depths import Depths, FloatArray, Levels, Plan
from tests.waiting import wait_for


class Zeros:
    """A network whose maps are all zero."""

    def __init__(self) -> None:
        self.made = 0

    def plan(self, size: tuple[int, int]) -> Plan:
        return Plan([], size, batch=1)

    def maps(self, frames: list[Levels], _: Callable[[], bool]) -> list[FloatArray]:
        self.made += len(frames)
        return [np.zeros((4, 4), np.float32) for _ in frames]


class Silent:
    """A process that has so many messages before it that no further one can be sent."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with suppress(BlockingIOError):
            while True:
                ours.send(b"\n", socket.MSG_DONTWAIT)
        self.wire = Wire(theirs)
        self.network = Zeros()
        self.errors: list[BaseException] = []
        self.worker = Wire(ours)
        self.depths = Depths(
            self.network, self.network.plan((4, 4)), self.worker, self.errors.append
        )
        os.close(self.depths.frames_descriptor)

    def ask(self, number: int) -> threading.Thread:
        """Ask for a map as the film's thread does."""
        thread = threading.Thread(target=self.depths.add, args=(number, number), daemon=True)
        thread.start()
        return thread

    def close(self) -> None:
        self.depths.close()
        for thread in self.depths._threads:
            thread.join(60)
        self.wire.close()
        self.worker.close()


@pytest.fixture
def silent() -> Iterator[Silent]:
    with closing(Silent()) as silent:
        yield silent


def test_a_process_that_reads_no_maps_does_not_hold_up_the_film_thread(silent: Silent) -> None:
    """That thread ends the process when its time is over or its client has hung up."""
    silent.ask(0).join()
    wait_for(lambda: silent.network.made == 1 and not silent.depths.is_busy())
    second = silent.ask(1)
    wait_for(lambda: not second.is_alive(), seconds=20)


def test_no_map_is_lost_while_the_process_reads_nothing(silent: Silent) -> None:
    def listen() -> None:
        """Wait for messages, as the film's thread does; the limit holds for the whole socket."""
        with suppress(TimeoutError):
            silent.worker.receive(0.5)

    listening = threading.Thread(target=listen)
    listening.start()
    for number in range(2):
        silent.ask(number).join()
    wait_for(lambda: silent.network.made == 2)
    listening.join()
    messages = [silent.wire.receive(60) for _ in range(2)]
    assert sorted(message["map"] for message in messages) == [0, 1]
    assert ["shape" in message for message in messages] == [True, False]
    os.close(silent.wire.take_descriptor())


def test_a_process_that_never_reads_is_ended(
    silent: Silent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(depths, "_UNREAD_SECONDS", 0.1)
    silent.ask(0).join()
    wait_for(lambda: silent.errors)
    assert isinstance(silent.errors[0], ProcessingFailed)
