# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Writes the figures as JSON and as a page of Markdown.

Both are written anew with each row, so a run that is cut short keeps all rows that it measured.
"""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.report import table
from benchmarks.results import Row

_WAYS = (
    "`first` is the first call on a shape: what a client would wait for where nothing is prepared. "
    "The share is that of the ceiling of the precision, 0 to 1; in fp32 torch lets cuDNN's "
    "convolutions, not its products, use tf32"
)
TITLES = {
    "ceilings": (
        "Ceilings",
        "TFLOP/s of products of large square matrices, the best of two sizes; GB/s of copying "
        "within the device's memory, bytes read and written.",
    ),
    "maps": (
        "Depth networks, input 518x686",
        f"{_WAYS}; mean and 99.9 % are differences to the CPU's fp32 in levels of 255.",
    ),
    "vectors": (
        "Embedding networks, input 224x224",
        f"{_WAYS}; the cosine is the lowest to the CPU's fp32.",
    ),
    "stages": (
        "Around the network",
        "Milliseconds a photo, and the difference to the first way of a stage in levels of 255. "
        "Those of the service include its copies to and from the host.",
    ),
    "copies": ("Copies", "Each waited for; differences as above."),
    "service": (
        "The service over HTTP",
        "Good answers a second, each client asking again at once; `plain` is without graphs and "
        "streams, and the CPU does all image work. `GPU busy` is the share of time in which "
        "some kernel ran (nvidia-smi); `cores` are those that the service and the clients "
        "used. Then the median answer of one client, and its stages, all in ms.",
    ),
    "failures": ("What failed", "The rest has been measured all the same."),
}


class Page:
    """Collects tables by name and writes them into a folder."""

    def __init__(self, folder: Path, head: dict[str, str]) -> None:
        self._folder = folder
        self._head = head
        self._tables: dict[str, list[Row]] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, name: str, row: Row) -> None:
        """Add a row to a table; ``gpu.json`` and ``gpu.md`` contain it when this returns."""
        self._tables.setdefault(name, []).append(row)
        content = {"head": self._head, "tables": self._tables}
        self._write("gpu.json", json.dumps(content, indent=1) + "\n")
        self._write("gpu.md", self.markdown())

    def markdown(self) -> str:
        """Return the page as Markdown."""
        lines = ["# GPU benchmark", "", *(f"- {key}: {text}" for key, text in self._head.items())]
        for name, (title, note) in TITLES.items():
            if name in self._tables:
                lines += ["", f"## {title}", "", note, "", *table(self._tables[name])]
        return "\n".join([*lines, ""])

    def _write(self, name: str, text: str) -> None:
        scratch = self._folder / f"{name}.part"
        scratch.write_text(text)
        scratch.replace(self._folder / name)
