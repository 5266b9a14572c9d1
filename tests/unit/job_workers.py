# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Workers that do jobs, with a stand-in for films."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from app.errors import ClientGone
from app.jobs.home import Home
from app.jobs.jobs import Jobs
from app.jobs.run import Outlook, Progress
from app.jobs.state import JobState, Order
from app.jobs.store import Store
from app.video.work import FilmWork
from tests.waiting import wait_for

ORDER = Order(
    model="small", work=FilmWork("mp4", "h264"), file_name="depth_a.mp4", mimetype="video/mp4"
)
UNKNOWN_ID = "A" * 22


@dataclass
class Step:
    frames: int
    total: int | None = 3


@dataclass
class Made:
    chunks: Iterator[bytes]
    weights: str = "random"
    warnings: list[str] = field(default_factory=list)


class Films:
    """Makes "films": each chunk of the input on its own, when ``go`` says so."""

    def __init__(self) -> None:
        self.go = threading.Semaphore(0)
        self.begun: list[bytes] = []
        self.closed = 0
        self.error: Exception | None = None
        self.late_error: Exception | None = None

    def __call__(
        self,
        film: BinaryIO,
        order: Order,
        is_gone: Callable[[], bool],
        on_progress: Callable[[Progress], None],
    ) -> Made:
        self.begun.append(film.read())
        if self.error is not None:
            raise self.error
        return Made(self._chunks(self.begun[-1], is_gone, on_progress), warnings=["no sound"])

    def _chunks(
        self, film: bytes, is_gone: Callable[[], bool], on_progress: Callable[[Progress], None]
    ) -> Iterator[bytes]:
        try:
            for number in range(3):
                while not self.go.acquire(timeout=0.02):
                    if is_gone():
                        raise ClientGone
                on_progress(Step(number + 1))
                yield film * (number + 1)
            if self.late_error is not None:
                raise self.late_error
        finally:
            self.closed += 1

    def release_all(self) -> None:
        self.go.release(1000)


class Worker:
    """The jobs of one worker."""

    def __init__(self, folder: Path, places: int = 1, **bounds: float) -> None:
        limits = {"max_jobs": 20, "max_bytes": 2**30, "keep_seconds": 3600} | bounds
        self.films = Films()
        self.outlook: Outlook = "stay"
        home = Home(folder)
        self.store = Store(
            home, int(limits["max_jobs"]), int(limits["max_bytes"]), limits["keep_seconds"]
        )
        self.jobs = Jobs(
            home,
            self.store,
            self.films,
            places,
            lambda: self.outlook,
        )

    def add(self, film: bytes = b"film") -> str:
        return self.jobs.create(io.BytesIO(film), ORDER, lambda: None).id

    def state(self, id: str) -> JobState:
        return self.jobs.state(id)

    def wait_for_bytes(self, id: str) -> None:
        wait_for(lambda: self.state(id).bytes)

    def wait_for_attempt(self, id: str, number: int) -> None:
        wait_for(lambda: self.state(id).attempts == number)

    def wait(self, id: str, *states: str) -> JobState:
        wait_for(lambda: self.state(id).state in states)
        return self.state(id)


def everything(worker: Worker, id: str) -> bytes:
    return worker.jobs.result(worker.state(id)).read_bytes()
