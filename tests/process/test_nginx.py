# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests large and slow uploads, restarts and reloads behind the shipped nginx configuration."""

from __future__ import annotations

import io
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlparse

import psutil
import pytest
import requests
from PIL import Image

from benchmarks.service import Service
from tests.contract import check
from tests.process.conftest import SMALL, Faulty, Stream, reload
from tests.services import nginx_before

FILES = {"image": ("a.png", SMALL)}


@pytest.fixture(scope="module")
def proxied(
    start_faulty: Callable[..., Faulty], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Faulty, str]]:
    faulty = start_faulty(WEB_CONCURRENCY=2)
    with nginx_before(faulty.service, tmp_path_factory.mktemp("nginx")) as url:
        yield faulty, url


def bitmap(side: int) -> bytes:
    file = io.BytesIO()
    Image.linear_gradient("L").resize((side, side)).convert("RGB").save(file, "BMP")
    return file.getvalue()


def test_uploads_of_60_mb(proxied: tuple[Faulty, str]) -> None:
    _, url = proxied
    data = bitmap(4480)
    assert 60_000_000 < len(data) < 64 * 2**20
    answer = requests.post(f"{url}/api/depth", files={"image": ("a.bmp", data)}, timeout=240)
    assert check.depth_map(answer).shape == (4480, 4480)
    for size in (64 * 2**20 + 1000, 70_000_000):  # the service refuses one, nginx the other
        files = {"image": ("a.bmp", b"B" * size)}
        check.error(requests.post(f"{url}/api/depth", files=files, timeout=240), 413)


def test_slow_clients_do_not_reach_the_service(proxied: tuple[Faulty, str]) -> None:
    faulty, url = proxied
    port = urlparse(url).port
    head = (
        b"POST /api/depth HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n"
        b"Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n"
    )
    slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(150)]
    for connection in slow:
        connection.sendall(head)
    for _ in range(5):
        for connection in slow:
            connection.sendall(b"x")
        assert requests.post(f"{url}/embed-image", files=FILES, timeout=10).status_code == 200
    assert faulty.queue()["in_flight"] == faulty.queue()["waiting"] == 0
    for connection in slow:
        connection.close()


def test_slow_clients_without_nginx_leave_room_for_others(proxied: tuple[Faulty, str]) -> None:
    """Idle connections hold no thread until they send something.

    The service therefore answers even if there are more idle connections than threads.
    """
    faulty, _ = proxied
    ports = [faulty.service.depth_port, faulty.service.embedder_port] * 150
    idle = [socket.create_connection(("127.0.0.1", port)) for port in ports]
    time.sleep(0.5)
    answer = faulty.service.get("/health")
    assert answer.status_code == 200
    assert answer.elapsed.total_seconds() < 15, "with eight idle clients a thread, 5 seconds each"
    assert faulty.ask("/api/depth").result().status_code == 200
    for connection in idle:
        connection.close()


def test_the_request_id_goes_through(proxied: tuple[Faulty, str]) -> None:
    faulty, url = proxied
    given = requests.get(f"{url}/models", headers={"X-Request-ID": "abc-123"}, timeout=240)
    assert given.headers["X-Request-ID"] == "abc-123"
    made = requests.get(f"{url}/models", timeout=240).headers["X-Request-ID"]
    assert f"[{made}]" in faulty.service.text()
    assert "[abc-123]" in faulty.service.text()


def test_a_reload_behind_nginx_refuses_nobody(proxied: tuple[Faulty, str]) -> None:
    faulty, url = proxied
    with Stream(faulty, url) as stream:
        faulty.wait_for(lambda: stream.done > 30)
        reload(faulty)
        done = stream.done
        faulty.wait_for(lambda: stream.done > done + 30)
    assert stream.wrong == []


def test_a_restart_behind_nginx(hub: Path, tmp_path: Path) -> None:
    service = Service(tmp_path / "log", HF_HUB_CACHE=hub, HF_HUB_OFFLINE=1)
    with service.started(), nginx_before(service, tmp_path) as url:
        service.wait_until_ready()
        for path in ("/api/depth", "/embed-image"):  # these use both upstream ports
            assert requests.post(f"{url}{path}", files=FILES, timeout=240).status_code == 200
        assert service.stop() == 0
        for path in ("/api/depth", "/embed-image"):
            check.error(requests.post(f"{url}{path}", files=FILES, timeout=240), 502)
        with service.started():
            service.wait_until_ready()
            for path in ("/api/depth", "/embed-image"):
                assert requests.post(f"{url}{path}", files=FILES, timeout=240).status_code == 200


def test_one_of_two_services_is_killed(
    proxied: tuple[Faulty, str], start: Callable[..., Service], tmp_path: Path
) -> None:
    """Requests go on, as docs/scale.md says: only those that the dead one had are lost."""
    faulty, _ = proxied
    other = start()
    with nginx_before(faulty.service, tmp_path, other) as url:
        with Stream(faulty, url) as stream:
            faulty.wait_for(lambda: stream.done > 40)
            assert "/embed-image' status=200" in other.text(), "both get requests"
            assert stream.wrong == []
            master = psutil.Process(other.process.pid)
            for process in (master, *master.children(recursive=True)):
                process.kill()
            done = stream.done
            faulty.wait_for(lambda: stream.done > done + 60)
        assert len(stream.wrong) <= 6, "each of six clients had at most one request there"
        for path in ("/api/depth", "/embed-image"):
            for _ in range(4):
                answer = requests.post(f"{url}{path}", files=FILES, timeout=240)
                assert answer.status_code == 200
