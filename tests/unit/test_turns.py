# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests how the time of a request is divided into waiting and inference."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import numpy as np

from app.tasks.results import Timings
from app.tasks.turns import Turn
from tests.unit.place import Place
from tests.waiting import wait_for


def test_all_passes_of_a_large_request_count_as_inference() -> None:
    """A request with more images than one pass takes does not wait for its second pass."""
    place, timings = Place(), Timings()
    turns: Any = SimpleNamespace(room=place.room)
    network: Any = place.model

    def call() -> None:
        with place.room.enter("a", 3, lambda: False) as ticket:
            place.room.wait_for_turn(ticket, max_batch=1)
            Turn(turns, ticket, network, timings).infer(np.zeros((3, 1), np.float32))

    asked = place.pool.submit(call)
    wait_for(lambda: place.model.begun == 1)
    began = time.monotonic()
    place.model.step()
    wait_for(lambda: place.model.begun == 2)
    place.model.step()
    wait_for(lambda: place.model.begun == 3)
    first_passes = time.monotonic() - began
    place.model.step()
    asked.result(60)
    place.close()
    assert timings.infer >= first_passes
