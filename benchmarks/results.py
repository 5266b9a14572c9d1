# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Figures, kept in one JSON file that later runs complete."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import machine

#: A number, words, or a median with the lowest and the highest.
Cell = str | int | float | list[float]
#: By the heading of the column; "model" is always there.
Row = dict[str, Cell]


def spread(values: Sequence[float]) -> list[float]:
    """Median, lowest, highest."""
    return [statistics.median(values), min(values), max(values)]


def ratios(others: Sequence[float], ours: Sequence[float]) -> list[float]:
    """Of what was measured in the same round, their spread."""
    return spread([other / own for other, own in zip(others, ours, strict=True)])


class Results:
    """What one machine did with one set of libraries and weights, ``about`` them."""

    def __init__(self, path: Path, about: dict[str, str]) -> None:
        self._path = path
        self.head: dict[str, Any] = {
            "machine": machine.description(),
            "versions": machine.versions(),
            **about,
        }
        #: date, command and ceilings (GFLOP/s) of each run that these figures come from
        self.runs: list[dict[str, Any]] = []
        self.tables: dict[str, list[Row]] = {}
        self._flop: dict[str, dict[str, int]] = {}
        self._resume()

    def _resume(self) -> None:
        """Take over what an earlier run left, unless it cannot be compared."""
        if self._path.exists():
            old = json.loads(self._path.read_text())
            if old["head"] == self.head:
                self.runs, self.tables = old["runs"], old["tables"]

    def begin(self, command: str, limits: dict[str, Any]) -> None:
        """Of the run that adds figures from here on: its command, what benchmarks.ceiling found."""
        self._flop = limits.pop("flop")
        self.runs.append({"date": f"{datetime.now(UTC):%Y-%m-%d}", "command": command} | limits)

    def put(self, table: str, rows: list[Row], **of: Cell) -> None:
        """Add rows in place of those that have the same values in these columns; save all."""
        stay = [
            row
            for row in self.tables.get(table, [])
            if any(row[column] != value for column, value in of.items())
        ]
        self.tables[table] = stay + rows
        self.save()

    def save(self) -> None:
        """Write the file; a cut never leaves half of one."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        content = {"head": self.head, "runs": self.runs, "tables": self.tables}
        scratch = self._path.with_suffix(".part")
        scratch.write_text(json.dumps(content, indent=1) + "\n")
        scratch.replace(self._path)

    def gflop(self, model: str, size: str) -> float:
        """Of one inference on a photo of this size."""
        return self._flop[model][size] / 1e9

    def share(self, model: str, size: str, per_second: float) -> float:
        """Share of the machine's ceiling that so many inferences a second are, 0 to 1."""
        ceiling: float = max(self.runs[-1]["bf16"], self.runs[-1]["fp32"])
        return self.gflop(model, size) * per_second / ceiling
