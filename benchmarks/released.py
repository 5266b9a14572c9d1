# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Compares a run with the last released figures, ``released.json``.

Milliseconds depend on the machine. How many times faster than the reference Twinlens is, measured
in pairs, depends on it less, so that is what is compared; a CPU with another kind of arithmetic
still gives other ratios, which the note says. Update the file with each release.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.machine import has_bf16
from benchmarks.results import Row

_COLUMN = "reference / Twinlens"


def released() -> dict[str, Any]:
    """The last released figures."""
    found: dict[str, Any] = json.loads(Path(__file__).with_name("released.json").read_text())
    return found


def note(figures: dict[str, Any]) -> str:
    """What a reader must know about the comparison."""
    text = (
        f"Times faster than the reference, beside the figures of {figures['date']} "
        f"({figures['machine']}). Where the ranges of all pairs overlap, the difference is noise."
    )
    if figures["has_bf16"] != has_bf16():
        text += " **One of the two machines has bf16 and the other has not: ratios differ anyway.**"
    return text


def compare(rows: list[Row], figures: dict[str, Any]) -> list[Row]:
    """A row for each model and photo that both have."""
    before = {(row["model"], row["photo"]): row[_COLUMN] for row in figures["latency"]}
    compared: list[Row] = []
    for row in rows:
        old, new = before.get((row["model"], row["photo"])), row.get(_COLUMN)
        if isinstance(old, list) and isinstance(new, list):
            low, high = new[1] / old[2], new[2] / old[1]
            verdict = "noise" if low <= 1 <= high else "faster" if low > 1 else "slower"
            compared.append(
                {
                    "model": row["model"],
                    "photo": row["photo"],
                    "released": old,
                    "now": new,
                    "now / released": [new[0] / old[0], low, high],
                    "verdict": verdict,
                }
            )
    return compared
