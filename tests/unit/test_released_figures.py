# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests that ``make bench`` calls a difference from the last release by its name, or noise."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.released import compare, released
from benchmarks.report import markdown
from benchmarks.results import Results, Row


@pytest.mark.parametrize(
    ("now", "verdict"),
    [([3.0, 2.8, 3.2], "noise"), ([4.0, 3.6, 4.2], "faster"), ([2.0, 1.9, 2.4], "slower")],
)
def test_ranges_that_overlap_are_noise(now: list[float], verdict: str) -> None:
    was: Row = {"model": "small", "photo": "12 MP", "reference / Twinlens": [3.0, 2.5, 3.5]}
    rows: list[Row] = [was | {"reference / Twinlens": now}, {"model": "other", "photo": "12 MP"}]
    (row,) = compare(rows, {"latency": [was]})
    assert row["verdict"] == verdict
    ratio = row["now / released"]
    assert isinstance(ratio, list)
    assert ratio[0] == pytest.approx(now[0] / 3.0)


def test_the_released_figures_are_in_the_form_of_a_run() -> None:
    rows = released()["latency"]
    assert {row["verdict"] for row in compare(rows, released())} == {"noise"}
    assert len(rows) >= 10


def test_the_page_has_them(tmp_path: Path) -> None:
    results = Results(tmp_path / "bench.json", {"weights": "random", "extent": "short"})
    results.put("latency", released()["latency"])
    page = markdown(results)
    assert "## Against the last release" in page
    assert page.count("noise |") == len(released()["latency"])
