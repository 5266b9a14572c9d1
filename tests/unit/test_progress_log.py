# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests that a long download logs its progress at each tenth and each minute."""

from __future__ import annotations

import time

import pytest

from app.hub.downloads import ProgressLog

TOTAL = 1_710_000_000


def test_each_tenth_is_told_once() -> None:
    progress_log = ProgressLog()
    steps = range(0, TOTAL + 1, TOTAL // 1000)
    told = [line for done in steps if (line := progress_log.line(done, TOTAL))]
    assert len(told) == 9, "begin and end are told by others"
    assert told[0] == "171 of 1710 MB (10 %)"


def test_a_slow_download_is_told_of_each_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    progress_log = ProgressLog()
    told = 0
    for done in range(600):
        now = float(done)
        told += progress_log.line(done, TOTAL) is not None
    assert told == 9


def test_nothing_is_told_while_the_size_is_not_known() -> None:
    assert ProgressLog().line(0, 0) is None


def test_a_resumed_download_begins_where_it_is() -> None:
    progress_log = ProgressLog()
    assert progress_log.line(TOTAL // 2, TOTAL) == "855 of 1710 MB (50 %)"
    assert progress_log.line(TOTAL // 2 + 1, TOTAL) is None
