# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests answers that wait for slow clients: they arrive complete, and their size is limited."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator

import pytest

from app.server.answers import (
    GRACE_SECONDS,
    LEAST_BYTES_PER_SECOND,
    LONGEST_SECONDS,
    Answer,
    Answers,
)
from app.server.descriptors import connections

LARGE = os.urandom(3_000_000)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    with ours, theirs:
        yield ours, theirs


def received(answer: Answer, theirs: socket.socket, size: int) -> bytes:
    answer.setblocking(False)  # as in the worker's main loop
    data = bytearray()
    while len(data) < size:
        if answer.is_waiting():
            answer.send_more()
        data += theirs.recv(65536)
    return bytes(data)


@pytest.mark.parametrize("parts", [[LARGE], [LARGE[:10_000]] * 50, [b"head", LARGE, b"tail"]])
def test_all_of_an_answer_arrives_in_its_order(
    pair: tuple[socket.socket, socket.socket], parts: list[bytes]
) -> None:
    ours, theirs = pair
    answers = Answers(10**8)
    answer = Answer(ours, answers)
    for part in parts:
        answer.sendall(part)
    assert answer.is_waiting()
    whole = b"".join(parts)
    assert received(answer, theirs, len(whole)) == whole
    assert not answer.is_waiting()
    answer.close()
    assert answers.held() == 0


def test_an_answer_survives_a_full_disk_in_memory(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(**_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    ours, theirs = pair
    answer = Answer(ours, Answers(10**8))
    answer.sendall(LARGE)
    assert received(answer, theirs, len(LARGE)) == LARGE


def test_the_slowest_client_makes_room(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, _ = pair
    answers = Answers(4_000_000)
    slow = Answer(ours, answers)
    slow.sendall(LARGE)
    slow.began -= 60
    other, theirs = socket.socketpair()
    with other, theirs:
        fast = Answer(other, answers)
        fast.sendall(LARGE)
        assert answers.held() < len(LARGE)
        with pytest.raises(BrokenPipeError):
            slow.send_more()
        assert received(fast, theirs, len(LARGE)) == LARGE
        third = Answer(other, answers)
        fast.sendall(LARGE)
        with pytest.raises(BrokenPipeError):  # no other answer is old enough to be dropped
            third.sendall(LARGE)
        fast.close()
    slow.close()


def test_a_client_has_a_grace_a_least_speed_and_an_end(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, _ = pair
    answer = Answer(ours, Answers(10**8))
    answer.sendall(LARGE)
    began = answer.began
    answer.sent = 100 * LEAST_BYTES_PER_SECOND
    assert not answer.is_too_slow(began + GRACE_SECONDS + 99)
    assert answer.is_too_slow(began + GRACE_SECONDS + 101)
    answer.sent = 10**12
    assert not answer.is_too_slow(began + LONGEST_SECONDS - 1)
    assert answer.is_too_slow(began + LONGEST_SECONDS + 1)
    answer.close()


@pytest.mark.parametrize(("limit", "most"), [(65_536, 1117), (1024, 513), (200, 133)])
def test_connections_fit_the_limit_of_open_files(limit: int, most: int) -> None:
    assert connections(limit, threads=117, wanted=1117) == most
