# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Measures the whole service over HTTP on the device: answers per second, stages, CPU and GPU use.

If "clients, cores" is about 1, the clients, which share one process, are the limit. If "service,
cores" is about 1 per worker, Python's global lock is probably the limit.
"""

from __future__ import annotations

import statistics
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.client import Answer, Clients, Window, ask, rate
from benchmarks.contenders import FAMILIES, PATHS, Contender, twinlens
from benchmarks.inputs import SIZES, Photos
from benchmarks.latency import stages
from benchmarks.results import Row
from benchmarks.service import PROJECT, Service

_SAMPLE_SECONDS = 0.2
#: gunicorn's configuration file for each way; None stands for the project's own file
WAYS = {"Twinlens": None, "plain": PROJECT / "benchmarks" / "gpu" / "plain_gunicorn.py"}


@dataclass(frozen=True)
class Load:
    """Says with which settings and how many clients the service is measured, and for how long."""

    #: IMAGE_EMBEDDER_CONCURRENCY, WEB_CONCURRENCY, and the way
    settings: tuple[tuple[int, int, str], ...]
    clients: tuple[int, ...]
    window: Window
    #: duration of the run with a single client, which gives the latency and the stages
    seconds: float


FULL = Load(
    settings=(
        *((1, 1, "Twinlens"), (1, 1, "plain")),
        *((2, 1, "Twinlens"), (2, 1, "plain")),
        (1, 4, "Twinlens"),
    ),
    clients=(1, 8, 32, 64),
    window=Window(seconds=3, answers=10**9, lead_in=1),
    seconds=2,
)
QUICK = Load(
    settings=((2, 1, "Twinlens"), (2, 1, "plain")),
    clients=(1, 8),
    window=Window(seconds=0.5, answers=8, lead_in=0),
    seconds=0,
)


def nvidia_smi(field: str, device: str = "cuda") -> str:
    """Return a field's value as nvidia-smi prints it, or "" if nvidia-smi is missing or fails."""
    index = device.partition(":")[2] or "0"
    command = ["nvidia-smi", "-i", index, f"--query-gpu={field}", "--format=csv,noheader,nounits"]
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.strip()
    return ""


@contextmanager
def gpu_busy(device: str) -> Iterator[list[int]]:
    """Sample the percentage of time in which the GPU ran a kernel; the list is empty if unknown."""
    samples: list[int] = []
    ended = threading.Event()

    def sample() -> None:
        while not ended.wait(_SAMPLE_SECONDS):
            figure = nvidia_smi("utilization.gpu", device)
            if not figure.isdecimal():
                return
            samples.append(int(figure))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield samples
    finally:
        ended.set()
        thread.join()


def measure(
    cache: Path, logs: Path, model: str, photo: str, device: str, load: Load
) -> Iterator[Row]:
    """Yield a row for each setting of the service and each number of clients."""
    photos = Photos(SIZES[photo])
    for concurrency, workers, way in load.settings:
        service = twinlens(
            cache,
            logs,
            [model],
            WAYS[way],
            DEVICE=device,
            ENGINE="torch",
            IMAGE_EMBEDDER_CONCURRENCY=concurrency,
            WEB_CONCURRENCY=workers,
        )
        with service.started():
            service.wait_until_ready()
            contender = Contender("Twinlens", service, PATHS[FAMILIES[model]], notices_hang_up=True)
            rate(contender, photos, max(load.clients), load.window)  # warms up each size of batch
            health = service.get("/health").json()
            for clients in load.clients:
                row: Row = {
                    "model": model,
                    "photo": photo,
                    "way": way,
                    "runs as": f"{health['precision']} on {health['device']['type']}",
                    "concurrency": concurrency,
                    "workers": workers,
                    "clients": clients,
                }
                yield row | _answered(contender, photos, clients, device, load)


def _answered(contender: Contender, photos: Photos, clients: int, device: str, load: Load) -> Row:
    began, used, own = time.perf_counter(), _cpu_seconds(contender.service), time.process_time()
    with gpu_busy(device) as busy:
        answers = rate(contender, photos, clients, load.window)
    took = time.perf_counter() - began
    row: Row = {
        "1/s": answers,
        "GPU busy, %": statistics.median(busy) if busy else "unknown",
        "service, cores": (_cpu_seconds(contender.service) - used) / took,
        "clients, cores": (time.process_time() - own) / took,
    }
    among = _one_among(contender, photos, clients, load.seconds)
    row["ms"] = 1000 * statistics.median(answer.seconds for answer in among)
    return row | stages(among)


def _one_among(contender: Contender, photos: Photos, clients: int, seconds: float) -> list[Answer]:
    """Send requests from one client for this time, and return its answers, at least one.

    Meanwhile ``clients - 1`` other clients send requests, too.
    """
    with Clients(contender, photos, clients - 1).asking():
        ask(contender, photos.next())  # not counted, because all clients begin at the same time
        end = time.perf_counter() + seconds
        answers = [ask(contender, photos.next())]
        while time.perf_counter() < end:
            answers.append(ask(contender, photos.next()))
    return answers


def _cpu_seconds(service: Service) -> float:
    """Return the CPU seconds that the master and the workers have used so far."""
    times = [each.cpu_times() for each in (psutil.Process(service.pid), *service.workers())]
    return sum(each.user + each.system for each in times)
