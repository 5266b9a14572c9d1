# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests answers that are made while they are sent: complete, broken off, slow, abandoned."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests

from benchmarks.service import PROJECT, Service
from tests.contract import check
from tests.process.conftest import SMALL
from tests.scrape import Scrape
from tests.services import nginx_before
from tests.waiting import wait_for

PATHS = {"zip": "/api/video/depth", "mp4": "/api/video/sbs"}


class Films:
    """A service with films.conf.py, directly and behind nginx."""

    def __init__(self, service: Service, proxy: str, folder: Path) -> None:
        self.service = service
        self.urls = {"direct": service.url(""), "nginx": proxy}
        self._folder = folder

    def post(self, way: str = "direct", path: str = PATHS["zip"], **plan: Any) -> requests.Response:
        files = {"video": ("a.mp4", json.dumps(plan).encode())}
        return requests.post(self.urls[way] + path, files=files, stream=True, timeout=240)

    def made(self, name: str) -> str:
        """Return the number of chunks of an answer that were made, or "closed"."""
        file = self._folder / name
        return file.read_text() if file.exists() else ""


@pytest.fixture(scope="module")
def films(
    start: Callable[..., Service], hub: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Films]:
    folder = tmp_path_factory.mktemp("films")
    config = PROJECT / "tests" / "process" / "films.conf.py"
    service = start(
        config=config,
        FILMS=folder,
        HF_HUB_CACHE=hub,
        BODY_TIMEOUT_SECONDS=5,
        MAX_WAITING_BYTES=2_000_000,
    )
    with nginx_before(service, tmp_path_factory.mktemp("nginx")) as proxy:
        yield Films(service, proxy, folder)


def expected(chunks: int, size: int) -> bytes:
    return b"".join(bytes([number % 256]) * size for number in range(chunks))


def raw(films: Films, version: str, **plan: Any) -> tuple[bytes, bytes, bool]:
    """Send a request of this version of HTTP; return head, body and whether it was reset."""
    form = (
        b'--b\r\nContent-Disposition: form-data; name="video"; filename="a.mp4"\r\n\r\n'
        + json.dumps(plan).encode()
        + b"\r\n--b--\r\n"
    )
    head = (
        f"POST /api/video/depth HTTP/{version}\r\nHost: x\r\nContent-Length: {len(form)}\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\nConnection: close\r\n\r\n"
    )
    answer, is_reset = b"", False
    with socket.create_connection(("127.0.0.1", films.service.depth_port), 60) as connection:
        connection.sendall(head.encode() + form)
        try:
            while data := connection.recv(65536):
                answer += data
        except ConnectionResetError:
            is_reset = True
    first, _, body = answer.partition(b"\r\n\r\n")
    return first, body, is_reset


def frames(films: Films) -> float:
    scrape = Scrape(films.service.get("/metrics").text)
    return scrape.total("twinlens_film_frames_total", model="small")


@pytest.mark.parametrize("way", ["direct", "nginx"])
def test_a_stream_arrives_whole_and_bit_by_bit(films: Films, way: str) -> None:
    answer = films.post(way, chunks=40, bytes=100_000, seconds=0.05, name=f"whole-{way}")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/zip"
    assert answer.headers["X-Frames-Total"] == "40"
    assert "Content-Length" not in answer.headers
    parts = answer.iter_content(100_000)
    first = next(parts)
    assert films.made(f"whole-{way}") != "closed", "the beginning came only with the end"
    assert first + b"".join(parts) == expected(40, 100_000)
    wait_for(lambda: films.made(f"whole-{way}") == "closed")


def test_clients_of_http_1_0_get_a_stream(films: Films) -> None:
    head, body, is_reset = raw(films, "1.0", chunks=5, bytes=1000)
    assert b"chunked" not in head
    assert body == expected(5, 1000)
    assert not is_reset


def test_a_connection_lives_on_after_a_stream(films: Films) -> None:
    with requests.Session() as session:
        for _ in range(2):
            files = {"video": ("a.mp4", json.dumps({"chunks": 3, "bytes": 50_000}).encode())}
            url = films.service.url(PATHS["mp4"])
            answer = session.post(url, files=files, timeout=240)
            assert answer.content == expected(3, 50_000)
            assert answer.headers.get("Connection") != "close"


@pytest.mark.parametrize("unexpected", [False, True])
@pytest.mark.parametrize("way", ["direct", "nginx"])
def test_a_failure_midway_is_visible(films: Films, way: str, unexpected: bool) -> None:
    before = films.service.text().count("an answer was broken off")
    answer = films.post(way, chunks=9, bytes=50_000, fails=5, seconds=0.05, unexpected=unexpected)
    assert answer.status_code == 200
    with pytest.raises((requests.exceptions.ChunkedEncodingError, requests.ConnectionError)):
        _ = answer.content
    wait_for(lambda: films.service.text().count("an answer was broken off") == before + 1)
    assert films.service.get("/health").status_code == 200
    assert "outcome='failed'" in films.service.text()


def test_a_failure_midway_is_visible_to_http_1_0(films: Films) -> None:
    head, _, is_reset = raw(films, "1.0", chunks=9, bytes=1000, fails=5, seconds=0.05)
    assert head.startswith(b"HTTP/1.0 200")
    assert is_reset, "an end of the connection means the end of the answer to this client"


@pytest.mark.parametrize("way", ["direct", "nginx"])
def test_no_more_is_made_than_the_client_takes(films: Films, way: str) -> None:
    """A client that stops reading stops the work, and costs no memory nor disk; it may go on."""
    (worker,) = films.service.workers()
    before = worker.memory_info().rss
    name = f"slow-{way}"
    answer = films.post(way, chunks=600, bytes=500_000, name=name)
    parts = answer.iter_content(500_000)
    begin = next(parts)
    stopped = ""
    while stopped != (stopped := films.made(name)):  # until no more is made
        time.sleep(0.5)
    assert 1 < int(stopped) < 100, "at most what the kernel's buffers hold, some MB"
    assert worker.memory_info().rss - before < 60 * 2**20
    assert begin + b"".join(parts) == expected(600, 500_000)
    wait_for(lambda: films.made(name) == "closed")


@pytest.mark.parametrize("reads", [False, True])
@pytest.mark.parametrize("way", ["direct", "nginx"])
def test_a_client_that_hangs_up_ends_the_work(films: Films, way: str, reads: bool) -> None:
    """That holds while the service waits for the next chunk, and while it waits for the client."""
    name = f"gone-{way}-{reads}"
    pause = 0.02 if reads else 0
    answer = films.post(way, chunks=10_000, bytes=100_000, seconds=pause, name=name)
    next(answer.iter_content(1000))
    wait_for(lambda: films.made(name) not in ("", "1"))
    answer.close()
    wait_for(lambda: films.made(name) == "closed")
    assert "outcome='client gone'" in films.service.text()


def test_films_have_places_of_their_own(films: Films) -> None:
    """Clients that send films slowly are bounded, and leave the places of photos free."""
    head = (
        b"POST /api/video/depth HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n"
        b"Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n"
    )
    address = ("127.0.0.1", films.service.depth_port)
    answers = []
    with ExitStack() as stack:

        def is_full() -> bool:
            # New ones each time, because on a busy machine those before may have timed out.
            for _ in range(4):  # twice VIDEO_CONCURRENCY
                connection = stack.enter_context(socket.create_connection(address, 60))
                connection.sendall(head)
            answers.append(films.post(chunks=1, bytes=1))
            return bool(answers[-1].status_code == 429)

        wait_for(is_full)
        assert int(answers[-1].headers["Retry-After"]) > 0
        check.error(answers[-1], 429)
        files = {"image": ("a.png", SMALL)}
        assert films.service.post("/api/depth", files=files).status_code == 200
    wait_for(lambda: films.post(chunks=1, bytes=1).status_code == 200)


def test_a_film_may_take_longer_to_arrive_than_a_photo(films: Films) -> None:
    """BODY_TIMEOUT_SECONDS is 5 here; each 64 KiB that come give one second more."""
    plan = json.dumps({"chunks": 2, "bytes": 10}).encode()

    def form() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="video"; filename="a.mp4"\r\n\r\n'
        yield plan
        for _ in range(32):
            time.sleep(0.25)
            yield b" " * 60_000
        yield b"\r\n--b--\r\n"

    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    assert films.service.post(PATHS["zip"], data=form(), headers=kind).content == expected(2, 10)
    late = films.service.post("/api/depth", data=form(), headers=kind)
    assert "BODY_TIMEOUT_SECONDS" in check.error(late, 408)


def test_films_on_disk_do_not_count_as_bytes_in_memory(films: Films) -> None:
    """MAX_WAITING_BYTES is 2 million here."""
    plan = json.dumps({"chunks": 2, "bytes": 10}).encode()
    files = {"video": ("a.mp4", plan + b" " * 9_000_000)}
    answers = [films.service.post(PATHS["zip"], files=files) for _ in range(3)]
    assert [answer.content for answer in answers] == [expected(2, 10)] * 3
    photo = {"image": ("a.png", b" " * 9_000_000)}
    check.error(films.service.post("/api/depth", files=photo), 429)
    assert Scrape(films.service.get("/metrics").text).total("twinlens_queue_bytes") == 0


def test_a_film_that_does_not_arrive_is_408(films: Films) -> None:
    head = (
        b"POST /api/video/depth HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n"
        b"Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n"
    )
    with socket.create_connection(("127.0.0.1", films.service.depth_port), 60) as connection:
        connection.sendall(head)
        answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 408")


def test_what_is_told_of_a_stream(films: Films) -> None:
    before = frames(films)
    answer = films.post(chunks=7, bytes=10, warnings=["the sound is left out: é\n"])
    assert answer.content == expected(7, 10)
    assert answer.headers["X-Warning"] == "the sound is left out: ??"
    assert answer.headers["X-Model-Used"] == "small"
    assert answer.headers["X-Engine"] == "openvino"
    assert answer.headers["X-Queue-Concurrency"] == "1"
    request_id = answer.headers["X-Request-ID"]
    wait_for(
        lambda: any(
            request_id in line and "outcome='complete'" in line and "frames=7" in line
            for line in films.service.text().splitlines()
        )
    )
    assert frames(films) - before == 7


def test_many_streams_at_a_time(films: Films) -> None:
    """Streams and photos share the worker; none gets the bytes of another."""
    with ThreadPoolExecutor(4) as pool:
        asked = [
            pool.submit(lambda: films.post(chunks=50, bytes=20_000, seconds=0.01).content)
            for _ in range(4)
        ]
        for _ in range(5):
            files = {"image": ("a.png", SMALL)}
            assert films.service.post("/api/depth", files=files).status_code == 200
        assert all(each.result() == expected(50, 20_000) for each in asked)
