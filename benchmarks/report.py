# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Writes the figures as a page of Markdown."""

from __future__ import annotations

from benchmarks import released
from benchmarks.results import Cell, Results, Row

_SHARE = "Shares are of the ceiling of matrix multiplication, 0 to 1."
TITLES = {
    "latency": (
        "One client",
        "From connecting to the last byte of the answer; no two requests have the same bytes.",
    ),
    "stages": (
        "Where the time goes",
        "Milliseconds by stage at one client, from Server-Timing; the share is that of the stage "
        f"`infer`. {_SHARE}",
    ),
    "throughput": (
        "Many clients",
        "Good answers a second, each client asking again at once. The share counts the whole "
        f"service, not the network alone. {_SHARE}",
    ),
    "health": (
        "/health while saturated",
        "Asked ten times a second from a process of its own; one worker.",
    ),
    "cost": ("Cost against megapixels", "All 4:3, so that the network's input is the same."),
    "resources": (
        "Start-up and memory",
        "Seconds from the start of the process to /ready, with converted models in the cache; PSS "
        "in MB when all default models are loaded, and after requests.",
    ),
    "maps": (
        "Depth: speed and accuracy of engines, in one process",
        "Against torch in fp32 with full decode: over all photos the highest mean and 99.9th "
        f"percentile of the difference in levels of 255. {_SHARE}",
    ),
    "films": (
        "3D films",
        "POST /api/video/sbs beside a loop with a PNG file for each step of each frame, as in the "
        "replaced service. The inference's share is the worker's CPU time in all CPU time; the "
        "film's own process decodes, steadies, renders and encodes.",
    ),
    "vectors": (
        "Embedding: speed and accuracy of engines, in one process",
        "Against torch in fp32 with full decode: the lowest cosine over all photos. The share is "
        f"that of the batch. {_SHARE}",
    ),
}


def markdown(results: Results) -> str:
    """Return the page; numbers in brackets are the lowest and the highest of all rounds."""
    head = results.head
    lines = [
        "# Benchmark",
        "",
        f"- machine: {', '.join(f'{key} {value}' for key, value in head['machine'].items())}",
        f"- versions: {', '.join(f'{key} {value}' for key, value in head['versions'].items())}",
        f"- weights: {head['weights']}; extent: {head['extent']}",
        *(
            f"- {run['date']}, `{run['command']}`, ceilings of matrix multiplication: "
            f"bf16 {run['bf16']:.0f}, fp32 {run['fp32']:.0f} GFLOP/s"
            for run in results.runs
        ),
    ]
    for name, (title, note) in TITLES.items():
        if results.tables.get(name):
            lines += ["", f"## {title}", "", note, "", *table(results.tables[name])]
    figures = released.released()
    if compared := released.compare(results.tables.get("latency", []), figures):
        title = "Against the last release"
        lines += ["", f"## {title}", "", released.note(figures), "", *table(compared)]
    return "\n".join([*lines, ""])


def table(rows: list[Row]) -> list[str]:
    """Return the lines of a Markdown table, with a column for every key that some row has."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    return [
        _line(columns),
        _line(["---"] * len(columns)),
        *(_line([_text(row.get(column, ""), column) for column in columns]) for row in rows),
    ]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _text(cell: Cell, column: str) -> str:
    """Show a number with three significant digits, and a cosine (close to 1) with six decimals."""
    if isinstance(cell, list):
        middle, low, high = (_text(each, column) for each in cell)
        return middle if low == high else f"{middle} ({low} to {high})"
    if not isinstance(cell, float):
        return str(cell)
    if column == "cosine":
        return f"{cell:.6f}"
    return f"{cell:.0f}" if abs(cell) >= 100 else f"{cell:.3g}"
