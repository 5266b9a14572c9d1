# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests the promises of docs/contracts.md under "Listeners" and "Errors, everywhere"."""

from __future__ import annotations

import http.client
import json
import socket
import time

import pytest
import requests

from benchmarks.service import Service
from tests.contract import check
from tests.services import PHOTO

GETS = ["/", "/health", "/ready", "/models", "/api/models", "/api/models/current", "/openapi.json"]


@pytest.mark.parametrize("path", GETS)
def test_every_route_on_every_listener(base: str, path: str) -> None:
    assert check.json(requests.get(base + path, timeout=240))


def test_errors_of_the_framework_have_our_body(base: str) -> None:
    nothing = check.error(requests.get(f"{base}/nothing", timeout=240), 404)
    assert nothing == "There is nothing at this address; /docs lists all that there is"
    wrong_method = requests.get(f"{base}/api/depth", timeout=240)
    refused = check.error(wrong_method, 405)
    assert refused == "This address takes POST, not GET"
    assert "POST" in wrong_method.headers["Allow"]
    check.error(requests.post(f"{base}/embed-image", data=b"x", timeout=240), 415)
    check.error(requests.post(f"{base}/embed-batch", data=b"x", timeout=240), 415)
    check.error(requests.post(f"{base}/embed-image", json=[], timeout=240), 422)


def test_a_request_id_is_kept_or_made(base: str) -> None:
    def answer(given: str) -> str:
        return requests.get(base, headers={"X-Request-ID": given}, timeout=240).headers[
            "X-Request-ID"
        ]

    assert answer("photo-17.a_b") == "photo-17.a_b"
    made = answer("not sane!")
    assert len(made) == 32
    assert answer("not sane!") != made


def test_a_body_above_the_budget_names_it(service: Service) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", service.embedder_port, timeout=240)
    connection.putrequest("POST", "/api/depth")
    connection.putheader("Content-Type", "multipart/form-data; boundary=x")
    connection.putheader("Content-Length", "67108865")
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    assert answer.status == 413
    assert "67108865" in body
    assert "67108864" in body


def test_who_sends_on_after_a_refusal_still_sees_it(service: Service) -> None:
    """A client that goes on sending after a refusal still gets the answer.

    nginx and most clients read the answer only after they have sent the whole body.
    """
    head = (
        "POST /api/depth HTTP/1.1\r\nHost: x\r\nContent-Length: 67108865\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", service.depth_port), 30) as connection:
        connection.sendall(head.encode())
        for _ in range(64):
            connection.sendall(bytes(2**20))
            time.sleep(0.002)
        assert connection.recv(12) == b"HTTP/1.1 413"


def test_what_nginx_refuses_is_json_too(nginx: str) -> None:
    host, port = nginx.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=240)
    connection.putrequest("POST", "/api/depth")
    connection.putheader("Content-Length", "90000000")
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == 413
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Request-ID"]
    assert set(json.loads(answer.read())) == {"error", "message", "detail", "code"}
    connection.close()


def test_a_unix_socket_or_one_port_says_ok(service: Service) -> None:
    """If both settings name the same port, there is one listener, and its status is "ok"."""
    one = Service(service.log.with_name("one"), WARMUP_ON_STARTUP="false")
    one.depth_port = one.embedder_port
    one.environ["AI_SERVICE_PORT"] = str(one.embedder_port)
    with one.started():
        assert one.wait_for("/health", 200).json()["status"] == "ok"


def test_an_unknown_model_is_400_everywhere(base: str) -> None:
    files = {"image": ("a.png", PHOTO)}
    for response in (
        requests.post(f"{base}/api/depth?model=huge", files=files, timeout=240),
        requests.post(f"{base}/api/depth?model=ViT-L-14", files=files, timeout=240),
        requests.post(f"{base}/embed-image", files=files, data={"model": "small"}, timeout=240),
        requests.post(f"{base}/api/models/huge/load", timeout=240),
        requests.post(f"{base}/api/models/huge/unload", timeout=240),
        requests.post(f"{base}/api/models/huge/download", timeout=240),
        requests.delete(f"{base}/api/models/huge", timeout=240),
    ):
        assert "known: " in check.error(response, 400, "Unknown model")
