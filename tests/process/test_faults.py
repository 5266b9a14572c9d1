# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests faults while a service runs: hanging inference, no memory, a lost device, gone clients."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack

import pytest

from benchmarks.service import Service
from config.threads import request_threads
from tests.contract import check
from tests.process.conftest import LONG, SMALL, Faulty

HEAD = (
    b"POST /api/depth HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    b"Content-Length: %d\r\n\r\n"
)
PART = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'


def send_depth(service: Service) -> socket.socket:
    """Send a request for a depth map without reading the answer."""
    body = PART + SMALL + b"\r\n--b--\r\n"
    connection = socket.create_connection(("127.0.0.1", service.embedder_port))
    connection.sendall(HEAD % len(body) + body)
    return connection


def test_a_hanging_inference_ends_its_worker_and_nothing_else(faulty: Faulty) -> None:
    (worker,) = faulty.service.workers()
    faulty.plan("hang")
    hanging = faulty.ask("/api/depth")
    faulty.wait_for_queue(1, 0)
    waiting = [faulty.ask(path) for path in ("/api/depth", "/embed-image") * 3]
    faulty.wait_for_queue(1, 6)
    answer = hanging.result()
    check.error(answer, 504)
    assert "INFERENCE_TIMEOUT_SECONDS" in answer.json()["message"]
    for each in waiting:
        check.error(each.result(), 503)
        assert int(each.result().headers["Retry-After"]) > 0
    # A new worker takes the place of the hanging one and works; the log shows where that one hung.
    assert faulty.ask("/api/depth").result().status_code == 200
    faulty.wait_for_successor(worker)
    assert "an inference hangs" in faulty.service.text()
    assert "time.sleep(3600)" in faulty.service.text()
    faulty.service.wait_until_ready()


def test_out_of_memory_once_goes_unnoticed(faulty: Faulty) -> None:
    faulty.plan("memory", 1)
    assert faulty.ask("/api/depth").result().status_code == 200
    assert "trying each alone" in faulty.service.text()


def test_out_of_memory_twice_is_503_and_the_next_request_works(faulty: Faulty) -> None:
    (worker,) = faulty.service.workers()
    faulty.plan("memory", 2)
    refused = faulty.ask("/embed-image").result()
    check.error(refused, 503)
    assert int(refused.headers["Retry-After"]) > 0
    assert "memory" in refused.json()["message"]
    assert faulty.ask("/embed-image").result().status_code == 200
    assert faulty.service.workers()[0].pid == worker.pid


@pytest.mark.parametrize("where", ["lost-prepare", "lost", "lost-finish"])
def test_a_lost_device_replaces_the_worker(faulty: Faulty, where: str) -> None:
    (worker,) = faulty.service.workers()
    faulty.plan(where)
    refused = faulty.ask("/api/depth").result()
    check.error(refused, 503)
    assert int(refused.headers["Retry-After"]) > 0
    assert faulty.ask("/api/depth").result().status_code == 200
    faulty.wait_for_successor(worker)
    assert faulty.service.get("/health").status_code == 200
    faulty.service.wait_until_ready()


def test_clients_that_hung_up_are_not_computed(faulty: Faulty) -> None:
    faulty.plan("slow", LONG)
    before = len(faulty.inferences())
    first = faulty.ask("/api/depth")
    faulty.wait_for(lambda: len(faulty.inferences()) == before + 1)
    gone = [send_depth(faulty.service) for _ in range(8)]
    faulty.wait_for_queue(1, 8)
    for connection in gone:
        connection.close()
    last = faulty.ask("/api/depth")
    faulty.wait_for_queue(1, 1)
    faulty.heal("slow")
    assert first.result().status_code == last.result().status_code == 200
    assert len(faulty.inferences()) == before + 2, "only the first and the last one"
    faulty.wait_for(lambda: faulty.service.text().count("status=499") == 8)


def test_who_waits_for_nothing_gives_up_the_place(faulty: Faulty) -> None:
    """Clients that hang up give up their places in a full waiting room before their turn comes."""
    faulty.plan("slow", LONG)
    first = faulty.ask("/api/depth")
    faulty.wait_for_queue(1, 0)
    gone = [send_depth(faulty.service) for _ in range(20)]
    faulty.wait_for_queue(1, 20)
    check.error(faulty.ask("/api/depth").result(), 429)
    for connection in gone:
        connection.close()
    faulty.wait_for_queue(1, 0)
    faulty.heal("slow")
    assert faulty.ask("/api/depth").result().status_code == 200
    assert first.result().status_code == 200


def test_health_answers_while_the_device_is_busy(faulty: Faulty) -> None:
    faulty.plan("slow", LONG)
    asked = [faulty.ask("/embed-image") for _ in range(4)]
    faulty.wait_for(lambda: faulty.queue()["in_flight"])
    began = time.monotonic()
    answers = [faulty.service.get("/health") for _ in range(5)]
    took = time.monotonic() - began
    assert all(answer.status_code == 200 for answer in answers)
    assert not all(each.done() for each in asked), f"the probes waited: {took:.1f} s"
    faulty.heal("slow")
    assert all(each.result().status_code == 200 for each in asked)


def test_a_stalled_client_does_not_keep_an_ending_worker(faulty: Faulty) -> None:
    """Half a request line and an unread answer do not delay the replacement of a worker."""
    (worker,) = faulty.service.workers()
    before = len(faulty.inferences())
    half = socket.create_connection(("127.0.0.1", faulty.service.embedder_port))
    with half, send_depth(faulty.service):
        half.sendall(b"POST /embed-im")
        faulty.wait_for(lambda: len(faulty.inferences()) == before + 1)
        faulty.wait_for_queue(0, 0)
        faulty.plan("lost")
        check.error(faulty.ask("/api/depth").result(), 503)
        assert faulty.ask("/api/depth").result().status_code == 200
        faulty.wait_for_successor(worker)
    faulty.service.wait_until_ready()


def test_the_successor_answers_who_connects_while_a_worker_is_replaced(faulty: Faulty) -> None:
    """An ending worker accepts no new connections, even while it still has work."""
    (worker,) = faulty.service.workers()
    faulty.plan("lost")
    check.error(faulty.ask("/api/depth").result(), 503)
    asked = [faulty.ask(path) for path in ("/api/depth", "/embed-image") * 4]
    codes = [each.result().status_code for each in asked]
    assert codes == [200] * 8, faulty.service.text()
    faulty.wait_for_successor(worker)


def test_clients_that_do_not_close_hold_up_nobody(faulty: Faulty) -> None:
    """The main loop, not a thread, waits for clients that do not close their connections.

    Other clients are therefore not delayed, even if there are more of these than threads.
    """
    threads = request_threads(concurrency=1, max_queue=20, films=2)
    head = b"GET /models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with ExitStack() as stack:
        for _ in range(9 * threads):
            connection = socket.create_connection(("127.0.0.1", faulty.service.embedder_port))
            stack.enter_context(connection)
            connection.sendall(head)
        # If a thread waited 5 s for each client to close, this would take 45 s.
        answer = faulty.service.get("/models")
        assert answer.elapsed.total_seconds() < 30
