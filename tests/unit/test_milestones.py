# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""A long download says how far it is: each tenth, and each minute."""

from __future__ import annotations

import time

import pytest

from app.hub.milestones import Milestones

TOTAL = 1_710_000_000


def test_each_tenth_is_told_once() -> None:
    milestones = Milestones()
    steps = range(0, TOTAL + 1, TOTAL // 1000)
    told = [line for done in steps if (line := milestones.line(done, TOTAL))]
    assert len(told) == 9, "begin and end are told by others"
    assert told[0] == "171 of 1710 MB (10 %)"


def test_a_slow_download_is_told_of_each_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    milestones = Milestones()
    told = 0
    for done in range(600):
        now = float(done)
        told += milestones.line(done, TOTAL) is not None
    assert told == 9


def test_nothing_is_told_while_the_size_is_not_known() -> None:
    assert Milestones().line(0, 0) is None


def test_a_resumed_download_begins_where_it_is() -> None:
    milestones = Milestones()
    assert milestones.line(TOTAL // 2, TOTAL) == "855 of 1710 MB (50 %)"
    assert milestones.line(TOTAL // 2 + 1, TOTAL) is None
