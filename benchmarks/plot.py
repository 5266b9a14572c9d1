# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Draws throughput against clients, and cost against megapixels, as a PNG."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from benchmarks.results import Results, Row

_REFERENCES = {"reference": "x", "reference OpenVINO": "s"}


def plot(results: Results, path: Path) -> None:
    """Draw the measured figures; those that are missing are left out."""
    figure = Figure(figsize=(11, 4.5), dpi=100, layout="constrained")
    left, right = figure.subplots(1, 2)
    _throughput(left, results.tables.get("throughput", []))
    _cost(right, results.tables.get("cost", []))
    for axes in (left, right):
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize="small")
    figure.savefig(path)


def _throughput(axes: Axes, rows: list[Row]) -> None:
    axes.set(xlabel="clients", ylabel="good answers a second")
    axes.set_title(
        "Throughput: solid 1 worker, dashed 2; x reference, squares with OpenVINO",
        fontsize="medium",
    )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    models = list(dict.fromkeys(str(row["model"]) for row in rows))
    for (model, workers), group in groupby(rows, lambda row: (row["model"], row["workers"])):
        mine, colour = list(group), f"C{models.index(str(model))}"
        label, style = (str(model), "-o") if workers == 1 else ("", "--o")
        _line(axes, mine, "clients", "Twinlens, 1/s", label, style, colour)
        for name, mark in _REFERENCES.items():
            _line(axes, mine, "clients", f"{name}, 1/s", "", mark, colour)


def _cost(axes: Axes, rows: list[Row]) -> None:
    axes.set(xlabel="megapixels", ylabel="ms a photo")
    axes.set_title("Cost of a photo, one client", fontsize="medium")
    for model, group in groupby(rows, lambda row: row["model"]):
        mine = list(group)
        _line(axes, mine, "megapixels", "Twinlens, ms", f"{model}, Twinlens", "-o", "C0")
        _line(axes, mine, "megapixels", "reference, ms", f"{model}, reference", "-x", "C7")
    axes.set_ylim(bottom=0)


def _line(
    axes: Axes, rows: Iterable[Row], x: str, y: str, label: str, style: str, colour: str
) -> None:
    """Draw the medians of column ``y`` against column ``x`` for all rows that have ``y``."""
    points = [(row[x], row[y]) for row in rows if y in row]
    if points:
        across = [one for one, _ in points]
        up = [other[0] if isinstance(other, list) else other for _, other in points]
        axes.plot(across, up, style, color=colour, markersize=5, label=label)
