# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Measures seconds from the start of the process to /ready, and memory before and after requests.

Memory is the proportional set size (PSS: shared pages counted once) in MB of 2**20 bytes. The
measuring process imports neither torch nor OpenVINO, because it would share their pages with the
service, which would then seem to need less memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import psutil

from benchmarks.client import ask
from benchmarks.contenders import (
    FAMILIES,
    PATHS,
    Contender,
    reference,
    references,
    twinlens,
)
from benchmarks.inputs import SIZES, Photos
from benchmarks.memory import pss_mb
from benchmarks.plan import Plan
from benchmarks.results import Results, Row, spread
from benchmarks.service import Service

_PHOTO = "poster 1000x1500"
_REQUESTS = 4  # requests per worker, so that every worker answers some
_IDLE_SECONDS = 2  # the service returns idle memory to the system within a second


def measure(results: Results, cache: Path, logs: Path, models: list[str], plan: Plan) -> None:
    """Measure Twinlens with each engine and number of workers, then the references."""

    def put(name: str, of: list[str], workers: int, make: Callable[[], Service]) -> None:
        about: Row = {"model": " + ".join(of), "service": name, "workers": workers}
        row = about | _figures(make, of, workers, plan.starts)
        results.put("resources", [row], **about)

    for engine in plan.engines:
        for workers in plan.workers:
            environ = {"ENGINE": engine, "WEB_CONCURRENCY": workers}
            make = partial(twinlens, cache, logs, models, **environ)
            if workers == min(plan.workers) and plan.starts > 1:
                _start_once(make())
            put(f"Twinlens {engine}", models, workers, make)
    for model in models if plan.every_reference else ():
        for name in references(model):
            put(name, [model], 1, partial(reference, cache, logs, model, name))


def _start_once(service: Service) -> None:
    """Start it once, so that work which only a first start does is not measured."""
    with service.started():
        service.wait_until_warm()


def _figures(make: Callable[[], Service], models: list[str], workers: int, starts: int) -> Row:
    seconds = []
    for number in range(starts):
        service = make()
        began = time.perf_counter()
        with service.started():
            service.wait_until_ready()
            seconds.append(time.perf_counter() - began)
            service.wait_until_warm()
            if number == starts - 1:
                warm = sum(_pss(service))
                _work(service, models, workers)
                time.sleep(_IDLE_SECONDS)
                master, *rest = _pss(service)
    return {
        "start, s": spread(seconds),
        "warm, MB": warm,
        "master, MB": master,
        "workers, MB": sum(rest),
        "all, MB": master + sum(rest),
    }


def _pss(service: Service) -> list[float]:
    """Return the PSS of the master, then of each of its descendants."""
    master = psutil.Process(service.pid)
    return [pss_mb(process) for process in (master, *master.children(recursive=True))]


def _work(service: Service, models: list[str], workers: int) -> None:
    for model in models:
        contender = Contender("service", service, PATHS[FAMILIES[model]])
        photos = Photos(SIZES[_PHOTO])
        files = [photos.next() for _ in range(_REQUESTS * workers)]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(partial(ask, contender), files))
