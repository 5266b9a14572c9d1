# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""A lean HTTP client: on few cores its own work would be measured, too."""

from __future__ import annotations

import re
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException

from benchmarks.contenders import Contender
from benchmarks.inputs import Photos

_PATIENCE = 600.0
_HEAD = (
    b"--border\r\n"
    b'Content-Disposition: form-data; name="image"; filename="photo.jpg"\r\n'
    b"Content-Type: image/jpeg\r\n\r\n"
)
_TAIL = b"\r\n--border--\r\n"
_HEADERS = {"Content-Type": "multipart/form-data; boundary=border"}
_STAGE = re.compile(r"([\w-]+);dur=([\d.]+)")


@dataclass(frozen=True)
class Answer:
    """A good answer."""

    #: from connecting to the last byte
    seconds: float
    #: milliseconds by stage, as the service says (Server-Timing); the reference says nothing
    stages: dict[str, float]


def connection(contender: Contender) -> HTTPConnection:
    """A new one, not yet connected."""
    return HTTPConnection("127.0.0.1", contender.service.embedder_port, timeout=_PATIENCE)


def ask(contender: Contender, photo: bytes, through: HTTPConnection | None = None) -> Answer:
    """Send a photo, read the answer; anything but 200 ends the benchmark."""
    through = through or connection(contender)
    body = _HEAD + photo + _TAIL
    began = time.perf_counter()
    through.request("POST", contender.path, body, _HEADERS)
    response = through.getresponse()
    content = response.read()
    seconds = time.perf_counter() - began
    through.close()
    if response.status != 200:
        raise RuntimeError(f"{contender.name}: {response.status}, {content[:500]!r}")
    timing = response.getheader("Server-Timing") or ""
    return Answer(seconds, {name: float(value) for name, value in _STAGE.findall(timing)})


class Clients:
    """So many at a time, each asking again at once."""

    def __init__(self, contender: Contender, photos: Photos, count: int) -> None:
        self._contender, self._photos = contender, photos
        self._stopped = threading.Event()
        self._open: set[HTTPConnection] = set()
        self._errors: list[BaseException] = []
        #: when good answers came, perf_counter() seconds
        self.answered: list[float] = []
        self._threads = [threading.Thread(target=self._ask_on) for _ in range(count)]

    @contextmanager
    def asking(self) -> Iterator[Clients]:
        """At the end they hang up, or wait for a last answer where hanging up is not noticed."""
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self._stopped.set()
            if self._contender.notices_hang_up:
                for each in list(self._open):
                    self._hang_up(each)
            for thread in self._threads:
                thread.join()
        self.check()

    def check(self) -> None:
        """Raises what went wrong in a client."""
        if self._errors:
            raise self._errors[0]

    @staticmethod
    def _hang_up(each: HTTPConnection) -> None:
        with suppress(OSError):  # it is just ending by itself
            if each.sock:
                each.sock.shutdown(2)

    def _ask_on(self) -> None:
        while not self._stopped.is_set():
            mine = connection(self._contender)
            self._open.add(mine)
            try:
                ask(self._contender, self._photos.next(), mine)
                self.answered.append(time.perf_counter())
            except (OSError, HTTPException, RuntimeError) as error:
                if not self._stopped.is_set():
                    self._errors.append(error)
                    return
            finally:
                self._open.discard(mine)


@dataclass(frozen=True)
class Window:
    """How long throughput is measured."""

    seconds: float
    #: so many answers are enough
    answers: int
    #: what comes before is not counted: the first requests all arrive at once
    lead_in: float


def rate(
    contender: Contender, photos: Photos, clients: int, window: Window, least: int = 3
) -> float:
    """Good answers a second.

    It is the slope of their number over time, which is right for answers that come in bursts, as
    those of a batch do, and needs no whole number of bursts in the window; but a few of them, so
    ``least`` says how many answers there must be, however long that takes.
    """
    if contender.notices_hang_up:
        _wait_until_idle(contender)
    begin = time.perf_counter() + window.lead_in
    end = begin + window.seconds
    asking = Clients(contender, photos, clients)

    def counted() -> list[float]:
        return sorted(at for at in asking.answered if at >= begin)

    with asking.asking():
        while len(counted()) < least or (
            time.perf_counter() < end and len(counted()) < window.answers
        ):
            asking.check()
            time.sleep(0.02)
        times = counted()
    if not contender.notices_hang_up:
        times = counted()  # it served the last ones at its usual rate
    return statistics.linear_regression(times, range(len(times))).slope


def _wait_until_idle(contender: Contender) -> None:
    """What ran when its clients hung up is still computed to its end."""
    while contender.service.get("/health").json()["queue"]["in_flight"]:
        time.sleep(0.05)
