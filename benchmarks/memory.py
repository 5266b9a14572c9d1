# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Measures the memory of the whole service: ``python -m benchmarks.memory --cache CACHE``.

Prints the proportional set size (PSS: shared pages counted once) of the master and each worker,
after every worker has answered requests.
"""

from __future__ import annotations

import argparse
import io
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
from PIL import Image

from benchmarks.service import Service

_MB = 2**20


def pss_mb(process: psutil.Process) -> float:
    """Return the proportional set size of a process, in MB."""
    return float(process.memory_full_info().pss) / _MB


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Memory of master and workers.")
    parser.add_argument("--cache", type=Path, required=True, help="made by benchmarks.checkpoints")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--families", default="depth,embedding")
    options = parser.parse_args()
    file = io.BytesIO()
    Image.effect_mandelbrot((1000, 1500), (-2, -1, 1, 1), 100).convert("RGB").save(file, "JPEG")

    def ask(service: Service, path: str) -> int:
        image = {"image": ("poster.jpg", file.getvalue())}
        return service.post(path, files=image).status_code

    log = Path(tempfile.mkdtemp()) / "log"
    service = Service(
        log,
        HF_HUB_CACHE=options.cache,
        HF_HUB_OFFLINE=1,
        WEB_CONCURRENCY=options.workers,
        ENABLED_FAMILIES=options.families,
    )
    paths = {"depth": "/api/depth", "embedding": "/embed-image"}
    with service.started():
        service.wait_until_ready()
        for family in options.families.split(","):
            count = 8 * options.workers
            with ThreadPoolExecutor(4) as pool:
                codes = set(pool.map(ask, [service] * count, [paths[family]] * count))
            if codes != {200}:
                raise SystemExit(f"{family}: answers {codes}\n{service.text()}")
        time.sleep(2)  # the service returns idle memory to the system within a second
        figures = [pss_mb(psutil.Process(service.pid)), *map(pss_mb, service.workers())]
    parts = " + ".join(f"{figure:.0f}" for figure in figures)
    print(f"PSS, master + {options.workers} workers, {options.families}, {os.cpu_count()} cores:")
    print(f"  {parts} = {sum(figures):.0f} MB")


if __name__ == "__main__":
    main()
