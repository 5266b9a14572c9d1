# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Defines fixtures: a service that fails on request, and its clients."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from benchmarks.service import PROJECT, Service
from tests.pictures import encoded, picture
from tests.services import start  # noqa: F401
from tests.waiting import wait_for

SMALL = encoded(picture(60, 40))
#: for the fault "slow": longer than a test takes to heal it, even on a machine that is busy, and
#: shorter than the inference timeout of ``faulty``
LONG = 13


class Faulty:
    """Controls a service that runs with tests/process/faults.conf.py, and sends it requests."""

    def __init__(self, service: Service, folder: Path) -> None:
        self.service = service
        self.folder = folder
        self.pool = ThreadPoolExecutor(64)

    def plan(self, name: str, text: object = "") -> None:
        """Ask for a fault; faults.conf.py lists them."""
        fresh = self.folder / f"{name}.new"
        fresh.write_text(str(text))
        fresh.rename(self.folder / name)

    def heal(self, name: str) -> None:
        (self.folder / name).unlink(missing_ok=True)

    def inferences(self) -> list[tuple[int, str, int]]:
        """Return the process, the model and the number of images of each inference so far."""
        path = self.folder / "inferences"
        lines = path.read_text().splitlines() if path.exists() else []
        words = [line.split() for line in lines]
        return [(int(pid), key, int(images)) for pid, key, images in words]

    def ask(
        self, path: str = "/embed-image", data: bytes = SMALL, base: str | None = None
    ) -> Future[requests.Response]:
        """Send a request in the background, through a proxy at ``base`` if that is given."""
        files = {"image": ("a.png", data)}
        url = f"{base}{path}" if base else self.service.url(path)
        return self.pool.submit(requests.post, url, files=files, timeout=240)

    def wait_for(self, what: Callable[[], object]) -> None:
        """Wait until something is true."""
        wait_for(what, 120, self.service)

    def wait_for_successor(self, worker: psutil.Process) -> None:
        """Wait until the worker is gone and one other has taken its place."""
        self.wait_for(lambda: [each.pid != worker.pid for each in self.service.workers()] == [True])

    def queue(self) -> dict[str, Any]:
        figures: dict[str, Any] = self.service.get("/health").json()["queue"]
        return figures

    def wait_for_queue(self, in_flight: int, waiting: int) -> None:
        self.wait_for(
            lambda: (self.queue()["in_flight"], self.queue()["waiting"]) == (in_flight, waiting)
        )


class Stream:
    """Sends requests from many clients during a ``with`` block, and collects all errors."""

    def __init__(self, faulty: Faulty, base: str | None = None) -> None:
        self._faulty = faulty
        self._base = base
        self._end = threading.Event()
        self.done = 0
        self.wrong: list[str] = []
        self._threads = [threading.Thread(target=self._ask, args=(i,)) for i in range(6)]

    def __enter__(self) -> Stream:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, number: int) -> None:
        while not self._end.is_set():
            path = ("/api/depth", "/embed-image")[number % 2]
            try:
                answer = self._faulty.ask(path, base=self._base).result()
            except OSError as error:
                self.wrong.append(str(error))
                continue
            self.done += 1
            if answer.status_code != 200:
                self.wrong.append(answer.text)


@pytest.fixture(scope="session")
def start_faulty(
    start: Callable[..., Service],  # noqa: F811
    hub: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., Faulty]:
    """Return a function that starts a faulty service with the settings that it is given."""

    def started(**environ: Any) -> Faulty:
        folder = tmp_path_factory.mktemp("faults")
        config = PROJECT / "tests" / "process" / "faults.conf.py"
        environ.setdefault("HF_HUB_CACHE", hub)
        return Faulty(start(config=config, FAULTS=folder, **environ), folder)

    return started


@contextmanager
def only(worker: psutil.Process, service: Service) -> Iterator[None]:
    """Let only this worker answer; the others are stopped during the block."""
    others = [each for each in service.workers() if each.pid != worker.pid]
    for other in others:
        other.suspend()
    try:
        yield
    finally:
        for other in others:
            other.resume()


def reload(faulty: Faulty) -> None:
    """Send SIGHUP and wait until all workers have been replaced."""
    before = {worker.pid for worker in faulty.service.workers()}
    os.kill(faulty.service.pid, signal.SIGHUP)
    faulty.wait_for(
        lambda: (
            len(after := {worker.pid for worker in faulty.service.workers()}) == len(before)
            and not after & before
        )
    )


@pytest.fixture(scope="session")
def faulty(start_faulty: Callable[..., Faulty]) -> Iterator[Faulty]:
    """Start a service with one worker and an inference timeout that one test waits for.

    Each test must heal the faults that it plans.
    """
    running = start_faulty(INFERENCE_TIMEOUT_SECONDS=15, IMAGE_EMBEDDER_MAX_QUEUE=20)
    yield running
    running.pool.shutdown()
