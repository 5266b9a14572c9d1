# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests that the service notices when a client has hung up."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from flask import Flask

from app.blueprints.exchange import disconnect_check


@pytest.fixture
def connection() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Yield the client's end and the service's end of a connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
        with client, accepted:
            yield client, accepted


def question(accepted: socket.socket) -> Callable[[], bool]:
    with Flask("here").test_request_context(environ_base={"gunicorn.socket": accepted}):
        return disconnect_check()


def becomes_true(ask: Callable[[], bool]) -> bool:
    end = time.monotonic() + 60
    while not ask():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


@pytest.mark.parametrize("unread", [b"", b"\r\n", b"GET / HTTP/1.1\r\n\r\n" * 1000])
def test_a_closed_connection_is_seen_behind_what_nobody_reads(
    connection: tuple[socket.socket, socket.socket], unread: bytes
) -> None:
    client, accepted = connection
    is_gone = question(accepted)
    client.sendall(unread)
    time.sleep(0.05)
    assert not is_gone()
    client.close()
    assert becomes_true(is_gone)


def test_a_flood_hides_nothing(connection: tuple[socket.socket, socket.socket]) -> None:
    client, accepted = connection
    is_gone = question(accepted)
    client.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            client.send(b"x" * 65536)
    assert becomes_true(is_gone)


def test_a_reset_and_our_own_end(connection: tuple[socket.socket, socket.socket]) -> None:
    client, accepted = connection
    is_gone = question(accepted)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    assert becomes_true(is_gone)
    accepted.close()
    assert is_gone()
