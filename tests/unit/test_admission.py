# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The waiting room: order, bounds, hand-over."""

from __future__ import annotations

import threading
import time

import pytest

from app.admission import WaitingRoom
from app.errors import Busy, TooSlow


def test_turns_come_in_order() -> None:
    room = WaitingRoom(1, 10, 10)
    order: list[int] = []

    def caller(number: int) -> None:
        with room.turn():
            order.append(number)

    threads = [threading.Thread(target=caller, args=(number,)) for number in range(5)]
    with room.turn():
        for waiting, thread in enumerate(threads):
            thread.start()
            while room.figures().waiting <= waiting:
                time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert order == list(range(5))
    assert (room.figures().in_flight, room.figures().waiting) == (0, 0)


def test_a_full_room_refuses_at_once() -> None:
    room = WaitingRoom(1, 0, 10)
    with room.turn(), pytest.raises(Busy) as error, room.turn():
        pass
    assert error.value.retry_after
    with room.turn():  # and the next one gets in
        pass


def test_waiting_has_an_end() -> None:
    room = WaitingRoom(1, 5, 0.05)
    with room.turn(), pytest.raises(TooSlow), room.turn():
        pass
    assert (room.figures().in_flight, room.figures().waiting) == (0, 0)


def test_a_failing_caller_gives_its_turn_back() -> None:
    room = WaitingRoom(1, 0, 1)
    with pytest.raises(ValueError, match="broken"), room.turn():
        raise ValueError("broken")
    with room.turn():
        assert room.figures().in_flight == 1
