# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests remote images with long addresses, many slow hosts, many bytes, or clients that hang up."""

from __future__ import annotations

import json
import socket
import time
import urllib.parse
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from app.errors import BadRequest
from benchmarks.service import Service
from tests.attacks.hosts import Host
from tests.attacks.remote import PUBLIC, fetched, fetcher
from tests.contract import check
from tests.waiting import wait_for


def test_a_long_address_is_refused_before_it_is_parsed(public: Host) -> None:
    # urllib caches parsed URLs, so a cache miss shows that a URL was parsed.
    parsed = urllib.parse.urlsplit.cache_info().misses  # type: ignore[attr-defined]
    with pytest.raises(BadRequest, match="30007 characters; at most 8192"):
        fetched(fetcher(), "http://" + "a" * 30_000)
    assert urllib.parse.urlsplit.cache_info().misses == parsed  # type: ignore[attr-defined]
    with pytest.raises(BadRequest, match="at most 8192"):
        fetched(fetcher(), f"http://{PUBLIC}:{public.port}/far")


@pytest.fixture(scope="module")
def remote(built_in: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(
        tmp_path_factory.mktemp("remote") / "log",
        HF_HUB_CACHE=built_in,
        HF_HUB_OFFLINE=1,
        DEFAULT_MODEL="builtin-clip",
        ENABLED_FAMILIES="embedding",
        ALLOW_REMOTE_IMAGE_URLS="true",
        ALLOWED_PRIVATE_NETWORKS=f"{PUBLIC}/32",
        REQUEST_TIMEOUT_SECONDS=20,
        MAX_WAITING_BYTES=3_500_000,
    )
    with service.started():
        service.wait_until_warm()
        yield service


def batch(host: Host, *paths: str) -> dict[str, Any]:
    return {"items": [{"image_url": f"http://{PUBLIC}:{host.port}/{path}"} for path in paths]}


def hang_up_later(service: Service, body: dict[str, Any]) -> Callable[[], None]:
    """Send a request without reading the answer; return a function that hangs up."""
    data = json.dumps(body).encode()
    connection = socket.create_connection(("127.0.0.1", service.embedder_port), 30)
    head = "POST /embed-batch HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    # The line break after the body must not hide the end of the connection.
    connection.sendall(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data + b"\r\n")
    return connection.close


def test_many_slow_batches(remote: Service, public: Host) -> None:
    """Slow batches share a few threads, do not delay others, and end when their clients hang up."""
    (worker,) = remote.workers()
    before = worker.num_threads()
    public.paths.clear()
    slow = [hang_up_later(remote, batch(public, *["silent"] * 8)) for _ in range(30)]
    # The requests' own threads fetch images, and so do helper threads that all requests share.
    wait_for(lambda: len(public.paths) >= 30 + 10)
    assert worker.num_threads() - before < 2 * 30 + 40, "eight for each batch would be 240"
    assert remote.get("/health").status_code == 200
    results = check.json(remote.post("/embed-batch", json=batch(public, "image", "image")))
    assert results["succeeded"] == 2
    for hang_up in slow:
        hang_up()
    began = time.monotonic()
    wait_for(lambda: Path(remote.log).read_text().count("status=499") >= 30)
    assert time.monotonic() - began < 15, "the hosts would have been waited for until 20 seconds"


def test_fetched_bytes_count_as_waiting(remote: Service, public: Host) -> None:
    def ask(_: int) -> list[str]:
        answer = remote.post("/embed-batch", json=batch(public, *["megabyte"] * 4))
        return [result["error"] for result in check.json(answer)["results"]]

    with ThreadPoolExecutor(3) as pool:
        errors = [error for found in pool.map(ask, range(3)) for error in found]
    refused = [error for error in errors if "MAX_WAITING_BYTES" in error]
    assert 0 < len(refused) < len(errors)
    one = remote.post("/embed-batch", json=batch(public, "megabyte"))
    assert "MAX_WAITING_BYTES" not in one.text, "what was held is free again"
