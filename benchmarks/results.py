# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Keeps the figures in one JSON file, to which later runs add theirs."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import machine

#: A number, a text, or a list of the median, the lowest and the highest value.
Cell = str | int | float | list[float]
#: Maps the heading of each column to its cell; "model" is always among the headings.
Row = dict[str, Cell]


def spread(values: Sequence[float]) -> list[float]:
    """Return the median, the lowest and the highest value."""
    return [statistics.median(values), min(values), max(values)]


def ratios(others: Sequence[float], ours: Sequence[float]) -> list[float]:
    """Return the spread of the ratios of values that were measured in the same round."""
    return spread([other / own for other, own in zip(others, ours, strict=True)])


class Results:
    """Holds the figures of one machine with one set of libraries and weights.

    ``about`` describes the weights and the extent of the run.
    """

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
        """Take over earlier figures if machine, libraries and ``about`` are the same."""
        if self._path.exists():
            old = json.loads(self._path.read_text())
            if old["head"] == self.head:
                self.runs, self.tables = old["runs"], old["tables"]

    def begin(self, command: str, limits: dict[str, Any]) -> None:
        """Record the command of a new run, and the peak speeds that benchmarks.ceiling measured."""
        self._flop = limits.pop("flop")
        self.runs.append({"date": f"{datetime.now(UTC):%Y-%m-%d}", "command": command} | limits)

    def put(self, table: str, rows: list[Row], **of: Cell) -> None:
        """Replace the rows that have the values ``of`` in these columns, and save everything."""
        stay = [
            row
            for row in self.tables.get(table, [])
            if any(row[column] != value for column, value in of.items())
        ]
        self.tables[table] = stay + rows
        self.save()

    def save(self) -> None:
        """Write the file in one step, so that an interruption never leaves half of it."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        content = {"head": self.head, "runs": self.runs, "tables": self.tables}
        scratch = self._path.with_suffix(".part")
        scratch.write_text(json.dumps(content, indent=1) + "\n")
        scratch.replace(self._path)

    def gflop(self, model: str, size: str) -> float:
        """Return the GFLOP of one inference on a photo of this size."""
        return self._flop[model][size] / 1e9

    def share(self, model: str, size: str, per_second: float) -> float:
        """Return the share, 0 to 1, of the machine's ceiling that ``per_second`` inferences use."""
        ceiling: float = max(self.runs[-1]["bf16"], self.runs[-1]["fp32"])
        return self.gflop(model, size) * per_second / ceiling
