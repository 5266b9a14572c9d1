# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Contains what the measuring processes share: a clock, and rows that can hold an error.

As soon as such a process has a row, it prints a line of JSON with the table's name and the row.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.results import Row

#: Takes the place of the milliseconds if a way needs CUDA and the device has none.
NO_CUDA = "no CUDA"


class Clock:
    """Times work on one device.

    After a warm-up, it makes as many calls in a row as fill a window.
    """

    def __init__(self, device: str, quick: bool) -> None:
        self.device = torch.device(device)
        self.is_cuda = self.device.type == "cuda"
        self._warm_ups, self._windows, self._seconds = (1, 1, 0.02) if quick else (3, 5, 0.2)
        if self.is_cuda:
            # From now on, "cuda" without an index means this device.
            torch.cuda.set_device(self.device.index or 0)

    def seconds_of(self, work: Callable[[], object]) -> float:
        """Return the seconds of one call: the median over several windows of the mean within each.

        Work that does not wait for the device only queues its kernels there. For such work, the
        host's own time counts only where it keeps the device waiting.
        """
        taken = [self._elapsed(work, 1) for _ in range(self._warm_ups)]
        count = max(1, int(self._seconds / taken[-1]))
        return statistics.median(self._elapsed(work, count) / count for _ in range(self._windows))

    def wait(self) -> None:
        """Wait until the device has done all work that is queued."""
        if self.is_cuda:
            torch.cuda.synchronize()

    def _elapsed(self, work: Callable[[], object], count: int) -> float:
        if not self.is_cuda:
            began = time.perf_counter()
            for _ in range(count):
                work()
            return time.perf_counter() - began
        event: Any = torch.cuda.Event  # torch gives it no types
        begin, end = event(enable_timing=True), event(enable_timing=True)
        begin.record()
        for _ in range(count):
            work()
        end.record()
        end.synchronize()
        return float(begin.elapsed_time(end)) / 1000


@contextmanager
def failing_into(row: Row) -> Iterator[None]:
    """Record an error of the block in the row instead of its time, so that the run goes on."""
    try:
        yield
    except Exception as error:  # libraries and drivers may raise errors of any kind
        traceback.print_exc()
        full = isinstance(error, torch.OutOfMemoryError)
        row["ms"] = "out of memory" if full else f"failed: {type(error).__name__}"


def on_host(result: NDArray[Any] | Tensor) -> NDArray[Any]:
    """Return the result as a numpy array; floats of any precision become float32."""
    if isinstance(result, np.ndarray):
        return result
    return (result.float() if result.is_floating_point() else result).cpu().numpy()


def emit(table: str, row: Row) -> None:
    """Print a row for the process that started this one."""
    print(json.dumps([table, row]), flush=True)


def arguments(description: str) -> argparse.ArgumentParser:
    """Return a parser with the options that all measuring processes have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--device", required=True, help="a device of torch")
    parser.add_argument("--quick", action="store_true", help="few repeats, fewer cases")
    return parser


def check_device(device: str) -> None:
    """End the process with a clear message if torch does not find the device."""
    if device.startswith("cuda") and not torch.cuda.is_available():
        sys.exit(f"{device}: torch finds no such device here; --device cpu shows that all runs")
