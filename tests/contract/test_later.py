# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Promises of docs/contracts.md that are not kept yet.

The marks are strict: whoever keeps a promise takes its mark away. They go with the issues on
untrusted input and on life under load.
"""

from __future__ import annotations

import http.client
import io
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
from PIL import Image

from app.images import FORMATS
from benchmarks.service import Service
from tests.contract import check
from tests.contract.conftest import PHOTO
from tests.pictures import encoded, picture

untrusted = pytest.mark.xfail(strict=True, reason="comes with the issue on untrusted input")
load = pytest.mark.xfail(strict=True, reason="comes with the issue on life under load")
FILES = {"image": ("a.png", PHOTO)}


@pytest.fixture(scope="module")
def remote(start: Callable[..., Service], hub: Path) -> Service:
    """May fetch from this machine; slow bodies and waiting are cut short."""
    return start(
        HF_HUB_CACHE=hub,
        ALLOW_REMOTE_IMAGE_URLS="true",
        ALLOWED_PRIVATE_NETWORKS="127.0.0.0/8",
        REQUEST_TIMEOUT_SECONDS=1,
        BODY_TIMEOUT_SECONDS=1,
        MAX_WAITING_BYTES=1_000_000,
        MAX_PROCESS_MEMORY_MB=1,
        MODEL_IDLE_SECONDS=1,
        ENABLED_FAMILIES="embedding",
    )


def embed_url(service: Service, url: str) -> int:
    return service.post("/embed-image", json={"image_url": url}).status_code


class _Host(BaseHTTPRequestHandler):
    """An image host: /image answers, /slow hangs, /broken fails."""

    def do_GET(self) -> None:
        if self.path == "/slow":
            time.sleep(3)
        self.send_response(500 if self.path == "/broken" else 200)
        self.end_headers()
        self.wfile.write(PHOTO)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def host() -> str:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Host)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}"


@untrusted
def test_a_url_is_fetched(remote: Service, host: str) -> None:
    assert embed_url(remote, f"{host}/image") == 200


@untrusted
def test_a_remote_host_that_fails_is_502(remote: Service, host: str) -> None:
    assert embed_url(remote, f"{host}/broken") == 502


@untrusted
def test_a_remote_host_that_is_slow_is_504(remote: Service, host: str) -> None:
    assert embed_url(remote, f"{host}/slow") == 504


@untrusted
def test_heic_is_known() -> None:
    assert "HEIF" in FORMATS


@untrusted
def test_a_slow_body_is_408(remote: Service) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", remote.embedder_port, timeout=5)
    connection.putrequest("POST", "/embed-image")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", "100")
    connection.endheaders()
    try:
        assert connection.getresponse().status == 408
    finally:
        connection.close()


@untrusted
def test_a_chunked_body_above_the_budget_is_413(service: Service) -> None:
    block = b" " * 2**20
    blocks = (block for _ in range(66))
    headers = {"Content-Type": "application/json"}
    assert service.post("/embed-image", data=blocks, headers=headers).status_code == 413


@untrusted
def test_requests_that_the_server_itself_refuses_are_json(service: Service) -> None:
    with socket.create_connection(("127.0.0.1", service.embedder_port), 5) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n")
        assert b"application/json" in connection.recv(4096)


@load
def test_waiting_bodies_have_a_budget_together(remote: Service) -> None:
    big = {"image": ("a.bmp", encoded(picture(1000, 700), "BMP"))}

    def ask(_: int) -> int:
        return remote.post("/embed-image", files=big).status_code

    with ThreadPoolExecutor(8) as pool:
        assert 429 in set(pool.map(ask, range(8)))


@load
def test_health_says_when_memory_is_exceeded(remote: Service) -> None:
    assert remote.get("/health").status_code == 503


@load
def test_an_idle_model_is_unloaded(remote: Service) -> None:
    remote.post("/embed-image", files=FILES)
    time.sleep(2.5)
    assert not any(model["loaded"] for model in remote.get("/health").json()["models"])


@pytest.fixture(scope="module")
def two(start: Callable[..., Service]) -> Service:
    return start(WEB_CONCURRENCY=2, ENABLED_FAMILIES="depth")


@load
def test_a_load_reaches_every_worker(two: Service) -> None:
    one, other = two.workers()
    one.suspend()  # so that the other one takes the load
    check.json(two.post("/api/models/large/load"))
    one.resume()
    other.suspend()  # and this one is asked
    current = two.get("/api/models/current").json()
    other.resume()
    assert current["loaded"] is True


def depth(service: Service, data: bytes) -> requests.Response:
    return service.post("/api/depth", files={"image": ("a.jpg", data)})


def photo(width: int) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((width, width // 8), 50).save(file, "JPEG")
    return file.getvalue()


@load
def test_the_queue_is_summed_over_workers(two: Service) -> None:
    data = photo(4000)
    with ThreadPoolExecutor(12) as pool:
        asked = [pool.submit(depth, two, data) for _ in range(12)]
        time.sleep(0.3)
        seen = [two.get("/health").json()["queue"]["in_flight"] for _ in range(10)]
        assert all(each.result().status_code == 200 for each in asked)
    assert max(seen) > 1


@load
def test_what_waits_at_shutdown_gets_503(start: Callable[..., Service], hub: Path) -> None:
    service = start(HF_HUB_CACHE=hub, ENABLED_FAMILIES="depth")
    data = photo(4000)
    with ThreadPoolExecutor(12) as pool:
        asked = [
            pool.submit(service.post, "/api/depth", files={"image": ("a.jpg", data)})
            for _ in range(12)
        ]
        time.sleep(0.3)
        os.kill(service.pid, signal.SIGTERM)
        codes = [each.result().status_code for each in asked]
    assert 503 in codes


@pytest.fixture(scope="module")
def narrow(start: Callable[..., Service], hub: Path) -> Service:
    """One place to wait, and not for long."""
    return start(
        HF_HUB_CACHE=hub,
        ENABLED_FAMILIES="depth",
        IMAGE_EMBEDDER_MAX_QUEUE=1,
        IMAGE_EMBEDDER_MAX_WAIT_SECONDS=0.2,
    )


def test_a_full_waiting_room_is_429_and_a_long_wait_504(narrow: Service) -> None:
    """Kept already, by one worker."""
    data = photo(4000)
    with ThreadPoolExecutor(8) as pool:
        asked = [
            pool.submit(narrow.post, "/api/depth", files={"image": ("a.jpg", data)})
            for _ in range(8)
        ]
        answers = [each.result() for each in asked]
    codes = {answer.status_code for answer in answers}
    assert codes <= {200, 429, 504}
    assert {200, 429} <= codes
    for answer in answers:
        if answer.status_code == 429:
            check.error(answer, 429)
            assert int(answer.headers["Retry-After"]) > 0
            assert answer.headers["X-Queue-Max-Queue"] == "1"
