# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests clients that are silent, read slowly, or are too many for the limit of open files."""

from __future__ import annotations

import os
import resource
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest

from benchmarks.service import Service
from tests.waiting import wait_for

KEY = {"X-Api-Key": "secret"}
PAGE = "/ui/example.jpg"
PAGES = f"GET {PAGE} HTTP/1.1\r\nHost: x\r\n\r\n".encode() * 20


@contextmanager
def clients(service: Service, number: int, data: bytes = b"") -> Iterator[list[socket.socket]]:
    """Open connections that send ``data`` and read almost nothing of the answers."""
    with ExitStack() as stack:
        made = []
        for _ in range(number):
            connection = stack.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(30)
            connection.connect(("127.0.0.1", service.embedder_port))
            connection.sendall(data)
            made.append(connection)
        yield made


@contextmanager
def limited(tmp_path: Path, soft: int, hard: int) -> Iterator[Service]:
    """Run a service that starts with these limits of open files."""
    service = Service(
        tmp_path / "log",
        HF_HUB_CACHE=tmp_path / "hub",
        HF_HUB_OFFLINE=1,
        WARMUP_ON_STARTUP="false",
        SERVICE_API_KEY="secret",
        SHUTDOWN_TIMEOUT_SECONDS=5,
    )
    with service.started(prefix=["prlimit", f"--nofile={soft}:{hard}"]):
        service.wait_for("/health", 200)
        yield service


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with limited(tmp_path_factory.mktemp("connections"), 1024, 20_000) as service:
        yield service


def test_the_soft_limit_of_open_files_is_raised(attacked: Service) -> None:
    for process in (psutil.Process(attacked.pid), *attacked.workers()):
        soft, hard = process.rlimit(resource.RLIMIT_NOFILE)
        assert (soft, hard) == (20_000, 20_000)


def test_more_silent_clients_than_connections(attacked: Service) -> None:
    (worker,) = attacked.workers()
    with clients(attacked, 1500):
        assert attacked.get("/health").status_code == 200
        assert attacked.get("/models", headers=KEY).status_code == 200
    assert [each.pid for each in attacked.workers()] == [worker.pid]


@pytest.mark.parametrize("hard", [1024, 200])
def test_fewer_descriptors_than_clients(tmp_path: Path, hard: int) -> None:
    """The hard limit cannot be raised, but the worker survives and answers requests."""
    with limited(tmp_path, hard, hard) as service:
        (worker,) = service.workers()
        with clients(service, 1200):
            assert service.get("/health").status_code == 200
            assert service.get("/models", headers=KEY).status_code == 200
            used = worker.cpu_times()
            time.sleep(1)
            now = worker.cpu_times()
            assert now.user + now.system - used.user - used.system < 0.7, "it spins"
        assert [each.pid for each in service.workers()] == [worker.pid]
        assert "Traceback" not in service.text()


def test_slow_readers_hold_neither_threads_nor_an_ending_worker(attacked: Service) -> None:
    """Several times as many slow readers as there are threads do not block a worker.

    After a reload they lose the rest of their answers.
    """
    with clients(attacked, 300, PAGES) as readers:
        for reader in readers[::10]:
            assert reader.recv(100), "its answer has begun"
        assert attacked.get("/health").status_code == 200
        assert attacked.get("/models", headers=KEY).status_code == 200
        (old,) = attacked.workers()
        os.kill(attacked.pid, signal.SIGHUP)
        # The clients read nothing more, so they are disconnected after SHUTDOWN_TIMEOUT_SECONDS.
        wait_for(lambda: old.pid not in [each.pid for each in attacked.workers()])
        assert attacked.get("/models", headers=KEY).status_code == 200
    assert "took their answers too slowly" in attacked.text()


def test_health_answers_while_all_threads_are_held(attacked: Service) -> None:
    """Each request head that is never completed holds a thread for 20 s."""
    with clients(attacked, 150, b"POST /embed-image HTTP/1.1\r\nHost:"):
        answers = [attacked.get(path) for path in ("/health", "/ready?x=1") * 3]
    slowest = max(answer.elapsed.total_seconds() for answer in answers)
    assert {answer.status_code for answer in answers} <= {200, 503}
    assert slowest < 15, "the threads are free after 20 s"


def test_a_whole_answer_arrives_however_slowly_it_is_read(attacked: Service) -> None:
    whole = attacked.get(PAGE).content
    with clients(attacked, 1, PAGES[: len(PAGES) // 20] * 30) as (reader,):
        reader.shutdown(socket.SHUT_WR)
        received = bytearray()
        while data := reader.recv(4096):
            received += data
    assert received.count(whole) == 30
