# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""An HTTP client that uses little CPU time, so that it hardly slows the measured service down."""

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
    """An answer with status 200."""

    #: from connecting to the last byte of the answer
    seconds: float
    #: milliseconds by stage from the header Server-Timing, which the reference does not send
    stages: dict[str, float]


def connection(contender: Contender) -> HTTPConnection:
    """Return a new connection that is not open yet."""
    return HTTPConnection("127.0.0.1", contender.service.embedder_port, timeout=_PATIENCE)


def ask(contender: Contender, photo: bytes, through: HTTPConnection | None = None) -> Answer:
    """Send a photo and read the answer; any status but 200 ends the benchmark."""
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
    """Sends requests from several clients at the same time.

    Each client sends its next request as soon as the previous one is answered.
    """

    def __init__(self, contender: Contender, photos: Photos, count: int) -> None:
        self._contender, self._photos = contender, photos
        self._stopped = threading.Event()
        self._open: set[HTTPConnection] = set()
        self._errors: list[BaseException] = []
        #: the value of perf_counter() at each answer with status 200
        self.answered: list[float] = []
        self._threads = [threading.Thread(target=self._ask_on) for _ in range(count)]

    @contextmanager
    def asking(self) -> Iterator[Clients]:
        """Run the clients during the block.

        At the end they hang up if the contender notices that; otherwise each waits for its last
        answer.
        """
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
        """Raise the first error that a client met."""
        if self._errors:
            raise self._errors[0]

    @staticmethod
    def _hang_up(each: HTTPConnection) -> None:
        with suppress(OSError):  # the client's thread may have just closed it
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
    """Says how long throughput is measured."""

    seconds: float
    #: the measurement ends early after this many answers
    answers: int
    #: seconds at the start that are not counted, because the first requests all arrive together
    lead_in: float


def rate(
    contender: Contender, photos: Photos, clients: int, window: Window, least: int = 3
) -> float:
    """Return the number of answers with status 200 per second.

    The result is the slope of a line fitted to the number of answers over time. This works even if
    answers come in bursts, as they do from batches, and the window ends in the middle of a burst.
    It needs a few bursts, so it waits for at least ``least`` answers, however long that takes.
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
        # Requests in flight at the end are still answered, at the same rate, so they count, too.
        times = counted()
    return statistics.linear_regression(times, range(len(times))).slope


def _wait_until_idle(contender: Contender) -> None:
    """Wait until nothing runs, because an inference runs to its end even if its client hangs up."""
    while contender.service.get("/health").json()["queue"]["in_flight"]:
        time.sleep(0.05)
