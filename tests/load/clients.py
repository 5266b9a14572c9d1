# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Runs many clients of both families, which check the answers that they get."""

from __future__ import annotations

import collections
import random
import threading
from dataclasses import dataclass

import numpy as np
import requests
from numpy.typing import NDArray

from benchmarks.service import Service
from tests.contract.check import depth_map
from tests.pictures import encoded, picture

#: Statuses that docs/contracts.md allows for a service that is busy or shutting down.
DOCUMENTED = {429, 503, 504}


@dataclass(frozen=True)
class Question:
    """A request, and the answer that the service gave to it without load."""

    path: str
    data: bytes
    answer: NDArray[np.float64]

    def is_answer(self, response: requests.Response) -> bool:
        """Return whether this is the answer to this question, and not that to another picture."""
        given = read(self.path, response)
        if given.shape != self.answer.shape:
            return False
        # Answers from batches are rounded differently, but answers to two pictures differ more than
        # that.
        return bool(np.abs(given - self.answer).max() <= (1.0 if "depth" in self.path else 1e-4))


def read(path: str, response: requests.Response) -> NDArray[np.float64]:
    """Return the map or vector in an answer."""
    if "depth" in path:
        return depth_map(response).astype(float)
    return np.asarray(response.json()["embedding"])


def ask(service: Service, path: str, data: bytes) -> requests.Response:
    files = {"image": ("a.jpg", data)}
    return service.post(path, files=files)


def questions(service: Service, count: int, seed: int = 0) -> list[Question]:
    """Ask about distinct pictures of mixed sizes for both families, and keep their answers."""
    dice = random.Random(seed)
    asked = []
    for number in range(count):
        size = dice.randint(40, 900), dice.randint(40, 900)
        data = encoded(picture(*size).rotate(dice.randint(0, 359)), "JPEG")
        path = ("/api/depth", "/embed-image")[number % 2]
        asked.append(Question(path, data, read(path, ask(service, path, data))))
    return asked


class Crowd:
    """Sends requests from many clients during a ``with`` block, and counts the answers."""

    def __init__(self, service: Service, asked: list[Question], clients: int) -> None:
        self._service = service
        self._asked = asked
        self._end = threading.Event()
        self._lock = threading.Lock()
        self.counts: collections.Counter[str] = collections.Counter()
        self.wrong: list[str] = []
        self._threads = [
            threading.Thread(target=self._ask, args=(number,)) for number in range(clients)
        ]

    def __enter__(self) -> Crowd:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(180)
        if any(thread.is_alive() for thread in self._threads):
            self.wrong.append("a client hangs")

    def _ask(self, number: int) -> None:
        dice = random.Random(number)
        while not self._end.is_set():
            question = dice.choice(self._asked)
            try:
                response = ask(self._service, question.path, question.data)
            except requests.Timeout:
                self._note(f"{question.path}: no answer within a minute")
                continue
            except requests.RequestException:  # an answer may also break off in the middle
                self._count("connection ended")
                continue
            code = response.status_code
            if code == 200 and not question.is_answer(response):
                self._note(f"{question.path}: the answer belongs to another request")
            elif code != 200 and code not in DOCUMENTED:
                self._note(f"{question.path}: {code} {response.text[:300]}")
            elif code != 200 and not {"error", "message", "detail"} <= set(response.json()):
                self._note(f"{question.path}: {code} without our body")
            self._count(f"{code}")
            if code != 200:
                self._end.wait(0.1)  # even an impatient client waits a little after a refusal

    def _count(self, what: str) -> None:
        with self._lock:
            self.counts[what] += 1

    def _note(self, what: str) -> None:
        with self._lock:
            self.wrong.append(what)
