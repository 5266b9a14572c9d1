# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Measures how fast the cache of vectors answers: ``python -m benchmarks.cached --cache CACHE``.

One client sends a picture that the service has embedded before, again and again, with one worker.
It prints milliseconds from connecting to the last byte: of the first answer, which is computed, and
the median and 99th percentile of the answers after it.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from benchmarks.client import ask
from benchmarks.contenders import PATHS, Contender, twinlens
from benchmarks.inputs import SIZES, Photos

_WARM_UP, _REQUESTS = 20, 500
_PHOTOS = ("poster 500x750", "poster 1000x1500", "12 MP 4:3")


def measure(cache: Path, model: str, logs: Path) -> None:
    """Print a row for each size of photo."""
    service = twinlens(cache, logs, [model], EMBED_CACHE_SIZE=1000)
    with service.started():
        service.wait_until_warm()
        to = Contender("Twinlens", service, PATHS["embedding"])
        for name in _PHOTOS:
            photos = Photos(SIZES[name])
            ask(to, photos.next())  # prepares the network for pictures of this kind
            photo = photos.next()
            first = 1000 * ask(to, photo).seconds
            times = [1000 * ask(to, photo).seconds for _ in range(_WARM_UP + _REQUESTS)][_WARM_UP:]
            middle, late = statistics.median(times), statistics.quantiles(times, n=100)[98]
            megabytes = len(photo) / 2**20
            print(f"| {name} | {megabytes:.2f} | {first:.0f} | {middle:.2f} | {late:.2f} |")


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Answers from the cache of vectors.")
    parser.add_argument("--cache", type=Path, required=True, help="made by benchmarks.checkpoints")
    parser.add_argument("--model", default="ViT-B-16")
    options = parser.parse_args()
    print("| photo | MB | computed, ms | again, ms | 99 %, ms |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as logs:
        measure(options.cache, options.model, Path(logs))


if __name__ == "__main__":
    main()
