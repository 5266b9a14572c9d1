# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests request bodies that are too long, too slow, too many, or malformed."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import requests

from benchmarks.service import Service
from tests.contract import check
from tests.pictures import encoded, picture
from tests.services import PHOTO
from tests.waiting import wait_for

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def strict(start: Callable[..., Service], hub: Path) -> Service:
    """Start a service with a small waiting room."""
    return start(
        HF_HUB_CACHE=hub,
        MAX_WAITING_BYTES=3_000_000,
        IMAGE_EMBEDDER_MAX_QUEUE=8,
        MAX_UPLOAD_BYTES=2_500_000,
        ENABLED_FAMILIES="embedding",
    )


@pytest.fixture(scope="module")
def hurried(start: Callable[..., Service], hub: Path) -> Service:
    """Start a service with a short body timeout, which only small bodies keep on a busy machine."""
    return start(
        HF_HUB_CACHE=hub,
        BODY_TIMEOUT_SECONDS=1,
        IMAGE_EMBEDDER_MAX_QUEUE=8,
        ENABLED_FAMILIES="embedding",
    )


def talk(service: Service, request: bytes, drip: float | None = None) -> bytes:
    """Send raw bytes and return the answer.

    If ``drip`` is given, one more byte is sent every ``drip`` seconds until the answer comes.
    """
    with socket.create_connection(("127.0.0.1", service.embedder_port), 10) as connection:
        connection.sendall(request)
        connection.settimeout(drip or 10)
        for _ in range(100):
            try:
                answer = connection.recv(65536)
                break
            except TimeoutError:
                connection.sendall(b" ")
        connection.settimeout(0.5)
        with suppress(TimeoutError, ConnectionError):
            while more := connection.recv(65536):
                answer += more
        return answer


def head(length: str, kind: str = "application/json") -> bytes:
    lines = [
        "POST /embed-image HTTP/1.1",
        "Host: x",
        f"Content-Type: {kind}",
        f"Content-Length: {length}",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def blocks(count: int) -> Iterator[bytes]:
    for _ in range(count):
        yield b" " * 100_000


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data; boundary=x"])
@pytest.mark.parametrize("drip", [None, 0.2])
def test_a_slow_body_is_408(hurried: Service, kind: str, drip: float | None) -> None:
    started = time.monotonic()
    answer = talk(hurried, head("100000", kind), drip)
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"BODY_TIMEOUT_SECONDS" in answer
    assert time.monotonic() - started < 30


def test_idle_uploads_leave_room_for_probes(hurried: Service) -> None:
    with ExitStack() as stack:
        for _ in range(60):
            address = ("127.0.0.1", hurried.embedder_port)
            connection = stack.enter_context(socket.create_connection(address, 10))
            connection.sendall(head("100000"))
        for _ in range(5):
            assert hurried.get("/health").status_code == 200
    # The service notices one by one that these clients are gone; until then there is no room.
    ends = time.monotonic() + 60
    while hurried.post("/embed-image", data=b"{}", headers=JSON).status_code == 429:
        assert time.monotonic() < ends, "there was never room again"
        time.sleep(0.1)


def test_a_chunked_body_above_the_budget(strict: Service) -> None:
    message = check.error(strict.post("/embed-image", data=blocks(26), headers=JSON), 413)
    assert "MAX_UPLOAD_BYTES" in message
    form = {"Content-Type": "multipart/form-data; boundary=x"}
    check.error(strict.post("/embed-image", data=blocks(26), headers=form), 413)


def test_a_chunked_body_within_it(strict: Service) -> None:
    check.error(strict.post("/embed-image", data=blocks(24), headers=JSON), 422)


def test_broken_chunks_are_400(service: Service) -> None:
    lines = b"POST /embed-image HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    answer = talk(service, lines + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n")
    assert answer.startswith(b"HTTP/1.1 400")
    assert b'"detail"' in answer


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (head("-1"), b"400"),
        (head("1e9"), b"400"),
        (b"GET /" + b"a" * 10_000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"GET / HTTP/1.1\r\n" + b"X-A: " + b"a" * 20_000 + b"\r\n\r\n", b"431"),
        (b"GET / HTTP/1.1\r\n" + b"X-A: 1\r\n" * 200 + b"\r\n", b"431"),
        (b"GET / HTTP/1.1\r\nbad header\r\n\r\n", b"400"),
        (b"\x16\x03\x01 hello\r\n\r\n", b"400"),
    ],
)
def test_what_the_server_itself_refuses_is_json_too(
    service: Service, request_bytes: bytes, status: bytes
) -> None:
    answer = talk(service, request_bytes)
    assert answer.startswith(b"HTTP/1.1 " + status)
    headers, body = answer.split(b"\r\n\r\n", 1)
    assert b"Content-Type: application/json" in headers
    assert b"X-Request-ID: " in headers
    assert set(json.loads(body)) == {"error", "message", "detail", "code"}


def test_forms_with_many_or_odd_parts(service: Service) -> None:
    many = {f"field{number}": (None, "x") for number in range(30)}
    check.error(service.post("/embed-image", files=many), 413)
    for body in (b"", b"--x", b"--x\r\n\r\n", b"\r\n" * 1000, b"--x--\r\n"):
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        assert service.post("/embed-image", data=body, headers=headers).status_code == 400
    for kind in ("multipart/form-data", "multipart/form-data; boundary=" + "x" * 1000):
        headers = {"Content-Type": kind}
        assert service.post("/api/depth", data=PHOTO, headers=headers).status_code in (400, 413)


def test_json_that_is_deep_or_odd(service: Service) -> None:
    for text in ("[" * 100_000, '{"a":' * 50_000, '{"items": ' + "[" * 5000, "\ud800", "nul", ""):
        data = text.encode("utf-8", "surrogatepass")
        for path in ("/embed-image", "/embed-batch"):
            check.error(service.post(path, data=data, headers=JSON), 422)
    deep = b'{"image_base64": "AAAA", "x": ' + b"[" * 150 + b"]" * 150 + b"}"
    assert service.post("/embed-image", data=deep, headers=JSON).status_code in (400, 422)


def test_a_long_list_gets_a_short_answer(service: Service) -> None:
    for items in ("1," * 200_000 + "1", "{}," * 300_000 + "{}"):
        response = service.post("/embed-batch", data='{"items": [' + items + "]}", headers=JSON)
        assert response.status_code in (413, 422)
        assert len(response.content) < 3000


def test_a_body_that_was_complete_in_time_is_not_late(hurried: Service) -> None:
    """The timeout applies only until the last byte of the body; the connection may stay open."""
    with requests.Session() as session:
        files = {"image": ("a.png", PHOTO)}
        for _ in range(2):
            answer = session.post(hurried.url("/embed-image"), files=files, timeout=240)
            assert answer.status_code == 200
            time.sleep(1.5)
            assert session.get(hurried.url("/health"), timeout=240).status_code == 200


def test_waiting_bodies_have_a_budget_together(strict: Service) -> None:
    big = {"image": ("a.bmp", encoded(picture(1000, 700), "BMP"))}
    address = ("127.0.0.1", strict.embedder_port)
    with socket.create_connection(address, 240) as held:
        held.sendall(head("2400000") + b" " * 2_300_000)
        # As soon as the service has read this much, no other large body fits beside it.
        while (answer := strict.post("/embed-image", files=big)).status_code == 200:
            pass
        assert "MAX_WAITING_BYTES" in check.error(answer, 429)
        assert int(answer.headers["Retry-After"]) > 0
        held.sendall(b" " * 100_000)
        assert held.recv(65536).startswith(b"HTTP/1.1 422")
    wait_for(lambda: strict.post("/embed-image", files=big).status_code == 200, service=strict)
