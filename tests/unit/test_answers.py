# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests answers that wait for slow clients: they arrive complete, and their size is limited."""

from __future__ import annotations

import os
import select
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from app.server.answers import (
    GRACE_SECONDS,
    LEAST_BYTES_PER_SECOND,
    LONGEST_PAUSE_SECONDS,
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


def test_a_stream_waits_for_its_client_and_keeps_nothing(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    answers = Answers(10**8)
    answer = Answer(ours, answers)
    answer.stream()
    thread = threading.Thread(target=answer.sendall, args=(LARGE,))
    thread.start()
    data = theirs.recv(1)
    assert thread.is_alive(), "most of it cannot be sent yet"
    assert answers.held() == 0
    while len(data) < len(LARGE):
        data += theirs.recv(65536)
    thread.join()
    assert data == LARGE
    assert not answer.is_waiting()


def test_a_stream_ends_when_its_client_hangs_up(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    answer = Answer(ours, Answers(10**8))
    answer.stream()
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(answer.sendall, LARGE)
        theirs.recv(1)
        theirs.close()
        with pytest.raises(OSError, match=r"hung up|Broken pipe|reset"):
            sent.result()


@pytest.mark.parametrize(
    ("sent", "pause"),
    [
        (0, GRACE_SECONDS + 1),
        (100 * LEAST_BYTES_PER_SECOND, GRACE_SECONDS + 101),
        (10**12, LONGEST_PAUSE_SECONDS + 1),
    ],
)
def test_a_client_of_a_stream_has_a_grace_a_least_speed_and_a_longest_pause(
    pair: tuple[socket.socket, socket.socket],
    monkeypatch: pytest.MonkeyPatch,
    sent: int,
    pause: float,
) -> None:
    """Only the time that is spent waiting for the client counts, however long the answer takes."""
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    ours, _ = pair
    answer = Answer(ours, Answers(10**8))
    answer.stream()
    now += 10 * LONGEST_SECONDS  # the answer is being made
    with suppress(BlockingIOError):
        while True:  # fill the kernel's buffer
            ours.send(bytes(4096), socket.MSG_DONTWAIT)
    answer.sent = sent
    waits = []

    class Poll:
        """Stands in for select.poll(): the client takes nothing."""

        def register(self, *_: object) -> None:
            pass

        def poll(self, milliseconds: float) -> list[tuple[int, int]]:
            nonlocal now
            waits.append(milliseconds / 1000)
            now += waits[-1]
            return []

    monkeypatch.setattr(select, "poll", Poll)
    with pytest.raises(BrokenPipeError, match="too slow"):
        answer.sendall(LARGE)
    assert pause - 1 <= sum(waits) <= pause + 1
    assert answer.is_broken


@pytest.mark.parametrize(("limit", "most"), [(65_536, 1117), (1024, 513), (200, 133)])
def test_connections_fit_the_limit_of_open_files(limit: int, most: int) -> None:
    assert connections(limit, threads=117, wanted=1117) == most
