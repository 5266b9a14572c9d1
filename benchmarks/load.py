# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Measures throughput and memory under overload: ``python -m benchmarks.load --cache CACHE``.

In alternating rounds, 8 and 64 clients send requests without pause. The module prints how many
answers with status 200 they get per second, and the ratio of the two rates. It also prints how much
memory 100 waiting photos of 12 megapixels take, in MB of 2**20 bytes.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import requests

from benchmarks.peak import highest_mb, photo
from benchmarks.service import Service

FEW, MANY = 8, 64


def ask(service: Service, path: str, data: bytes) -> int:
    """Send a photo, wait for the answer, however long it takes, and return its status."""
    files = {"image": ("a.jpg", data)}
    return requests.post(service.url(path), files=files, timeout=600).status_code


def answers_per_second(
    service: Service, path: str, data: bytes, clients: int, seconds: float
) -> float:
    """Return the answers with status 200 per second; the first second is not counted.

    Each client sends its next request as soon as the previous one is answered.
    """
    begin = time.monotonic() + 1.0
    end = begin + seconds
    done: list[float] = []

    def client() -> None:
        while time.monotonic() < end:
            if ask(service, path, data) == 200:
                done.append(time.monotonic())

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(begin <= at <= end for at in done) / seconds


def throughput(cache: Path, workers: int, rounds: int, seconds: float) -> None:
    """Measure the throughput of each family and print it."""
    log = Path(tempfile.mkdtemp()) / "log"
    service = Service(
        log,
        HF_HUB_CACHE=cache,
        HF_HUB_OFFLINE=1,
        DEFAULT_MODEL="ViT-B-16",
        WEB_CONCURRENCY=workers,
        IMAGE_EMBEDDER_MAX_WAIT_SECONDS=600,
    )
    inputs = {"/api/depth": photo(1920, 1080), "/embed-image": photo(1000, 1500)}
    with service.started():
        service.wait_until_ready()
        for path, data in inputs.items():
            answers_per_second(service, path, data, FEW, 3)
            few, many = [], []
            for _ in range(rounds):
                few.append(answers_per_second(service, path, data, FEW, seconds))
                many.append(answers_per_second(service, path, data, MANY, seconds))
            ratios = [b / a for a, b in zip(few, many, strict=True)]
            print(
                f"{path}, {workers} worker(s): {statistics.median(few):.2f}/s at {FEW} clients, "
                f"{statistics.median(many):.2f}/s at {MANY}; ratio "
                f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
                flush=True,
            )


def waiting(cache: Path) -> None:
    """Measure how much memory many waiting photos take and print it."""
    service = Service(
        Path(tempfile.mkdtemp()) / "log",
        HF_HUB_CACHE=cache,
        HF_HUB_OFFLINE=1,
        DEFAULT_MODEL="ViT-B-16",
        IMAGE_EMBEDDER_MAX_WAIT_SECONDS=600,
    )
    data = photo(4000, 3000)

    with service.started(), ThreadPoolExecutor(100) as pool:
        service.wait_until_ready()
        (worker,) = service.workers()
        ask(service, "/api/depth", data)
        for count in (1, 100):
            time.sleep(3)
            rest = psutil.Process(worker.pid).memory_info().rss / 2**20
            Path(f"/proc/{worker.pid}/clear_refs").write_text("5")
            asked = [pool.submit(ask, service, "/api/depth", data) for _ in range(count)]
            assert {each.result() for each in asked} == {200}
            top = highest_mb(worker.pid)
            print(
                f"{count} photo(s) of 12 MP ({len(data) / 1e6:.1f} MB) at a time: at rest "
                f"{rest:.0f} MB, highest {top:.0f} MB, difference {top - rest:.0f} MB",
                flush=True,
            )


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Throughput and memory under overload.")
    parser.add_argument("--cache", type=Path, required=True, help="made by benchmarks.checkpoints")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=12)
    options = parser.parse_args()
    waiting(options.cache)
    for workers in (1, 2):
        throughput(options.cache, workers, options.rounds, options.seconds)


if __name__ == "__main__":
    main()
