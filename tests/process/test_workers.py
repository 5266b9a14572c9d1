# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests that two workers give the same answers, and that both carry out an order to one of them."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import pytest

from tests.contract import check
from tests.pictures import encoded, picture
from tests.process.conftest import LONG, Faulty, only, reload


@pytest.fixture(scope="module")
def two(start_faulty: Callable[..., Faulty]) -> Faulty:
    two = start_faulty(WEB_CONCURRENCY=2, IMAGE_EMBEDDER_MAX_QUEUE=6, MAX_WAITING_BYTES=3_000_000)
    two.wait_for(lambda: len(two.service.workers()) == 2)
    return two


def told(two: Faulty) -> list[dict[str, Any]]:
    """Return what each worker reports about the models."""
    answers = []
    for worker in two.service.workers():
        with only(worker, two.service):
            answers.append(
                {
                    "managed": two.service.get("/api/models?type=all").json(),
                    "current": two.service.get("/api/models/current").json(),
                    "models": two.service.get("/models").json(),
                    "ready": two.service.get("/ready").json(),
                    "health": two.service.get("/health").json()["models"],
                }
            )
    return answers


def test_load_and_unload_reach_every_worker(two: Faulty) -> None:
    assert two.service.post("/api/models/large/load").status_code == 200
    one, other = told(two)
    assert one == other
    assert one["current"]["current_model"] == "large"
    models = one["managed"]["models"]
    assert [each["key"] for each in models if each["is_loaded"]] == ["large", "ViT-L-14", "sharp"]
    # The default model stays, because no load request had loaded it.
    loaded = [each["key"] for each in models if each["state"] == "loaded"]
    assert loaded == ["small", "large", "ViT-L-14", "sharp"]
    # The model is really loaded in both workers.
    for worker in two.service.workers():
        with only(worker, two.service):
            answer = two.ask("/api/depth").result()
            assert answer.headers["X-Model-Used"] == "large"
    assert {pid for pid, key, _ in two.inferences() if key == "large"} == {
        worker.pid for worker in two.service.workers()
    }
    assert two.service.post("/api/models/large/unload").status_code == 200
    one, other = told(two)
    assert one == other
    assert one["current"]["current_model"] == "small"


def test_a_model_that_a_request_brings_is_there_for_all(two: Faulty) -> None:
    with only(two.service.workers()[0], two.service):
        assert two.ask("/api/depth?model=base").result().status_code == 200
    one, other = told(two)
    assert one == other
    states = {each["key"]: each["state"] for each in one["managed"]["models"]}
    assert states["base"] == "loaded"
    two.service.post("/api/models/base/unload")


def test_a_load_frees_the_model_that_was_loaded_before_in_every_worker(two: Faulty) -> None:
    for key, other in (("base", "large"), ("large", "base")):
        for worker in two.service.workers():  # it must not matter which worker gets the request
            with only(worker, two.service):
                assert two.service.post(f"/api/models/{key}/load").status_code == 200
        for each in told(two):
            states = {model["key"]: model["state"] for model in each["managed"]["models"]}
            assert (states[key], states[other]) == ("loaded", "not_loaded")
    two.service.post("/api/models/large/unload")


def test_queue_figures_are_sums_and_the_room_is_one(two: Faulty) -> None:
    two.plan("slow", LONG)
    asked = [two.ask("/api/depth") for _ in range(20)]
    two.wait_for(lambda: two.queue()["waiting"] == 6)
    figures = [two.queue() for _ in range(8)]
    assert {each["in_flight"] for each in figures} == {2}
    assert all(each["waiting"] <= 6 and each["concurrency"] == 2 for each in figures)
    two.plan("slow", 0.05)
    answers = [each.result() for each in asked]
    codes = [answer.status_code for answer in answers]
    assert set(codes) == {200, 429}
    assert codes.count(200) >= 8
    for answer in answers:
        assert answer.headers["X-Queue-Max-Queue"] == "6"
        if answer.status_code == 429:
            assert 1 <= int(answer.headers["Retry-After"]) <= 60
    two.heal("slow")


def test_waiting_bytes_are_counted_together(two: Faulty) -> None:
    large = encoded(picture(900, 800), "BMP")
    assert 2_000_000 < len(large) < 3_000_000
    one, other = two.service.workers()
    two.plan("slow", LONG)
    with only(one, two.service):
        first = two.ask("/api/depth", large)
        two.wait_for_queue(1, 0)
    with only(other, two.service):  # the first worker is stopped while it holds the request's bytes
        refused = two.ask("/api/depth", large).result()
    two.heal("slow")
    check.error(refused, 429)
    assert "MAX_WAITING_BYTES" in refused.json()["message"]
    assert first.result().status_code == 200
    assert two.ask("/api/depth", large).result().status_code == 200


def test_clean_up_acts_on_all(two: Faulty) -> None:
    answer = two.service.post("/admin/cleanup").json()
    assert set(answer) == {
        "gc_collected",
        "gpu_freed_mb",
        "process_rss_mb",
        "gpu_allocated_mb",
        "gpu_reserved_mb",
    }
    largest = max(worker.memory_info().rss for worker in two.service.workers()) / 2**20
    assert abs(answer["process_rss_mb"] - largest) < 100


def test_a_killed_worker_loses_only_its_own_requests(two: Faulty) -> None:
    two.service.post("/api/models/large/load")
    two.plan("slow", LONG)
    asked = [two.ask("/api/depth") for _ in range(8)]
    two.wait_for(lambda: two.queue()["in_flight"] == 2)
    victim = two.service.workers()[0]
    os.kill(victim.pid, signal.SIGKILL)
    two.heal("slow")
    codes = []
    for each in asked:
        try:
            codes.append(each.result().status_code)
        except OSError:  # the connection ended with the worker
            codes.append(0)
    assert set(codes) <= {0, 200}
    assert codes.count(200) >= 1
    # The figures of the dead worker are gone, and its successor has loaded the same models.
    two.wait_for(lambda: len(two.service.workers()) == 2)
    two.wait_for_queue(0, 0)
    for worker in two.service.workers():
        with only(worker, two.service):
            two.wait_for(
                lambda: two.service.get("/api/models/current").json()["current_model"] == "large"
            )
            assert two.ask("/api/depth").result().headers["X-Model-Used"] == "large"
    assert victim.pid not in [worker.pid for worker in two.service.workers()]
    assert not two.service.zombies()
    two.service.post("/api/models/large/unload")


def test_each_worker_has_a_place_of_its_own(start_faulty: Callable[..., Faulty]) -> None:
    four = start_faulty(WEB_CONCURRENCY=4, ENABLED_FAMILIES="depth")
    four.wait_for(lambda: len(four.service.workers()) == 4)
    for _ in range(2):
        four.wait_for(lambda: len(told(four)) == 4)
        bells = set()
        for worker in four.service.workers():
            names = [c.laddr for c in worker.net_connections("unix") if "twinlens-" in str(c.laddr)]
            bells |= set(names)
        assert len(bells) == 4
        reload(four)


def test_ready_holds_while_a_worker_is_replaced(two: Faulty) -> None:
    os.kill(two.service.workers()[0].pid, signal.SIGKILL)
    assert {two.service.get("/ready").status_code for _ in range(20)} == {200}
    two.wait_for(lambda: len(two.service.workers()) == 2)


def test_a_stopped_holder_of_the_lock_stops_nobody(two: Faulty) -> None:
    """A stopped process that holds the lock of the shared state stops no other process.

    Here the test itself holds the lock.
    """
    two.wait_for(lambda: len(two.service.workers()) == 2)
    files = {
        Path(file.path)
        for worker in two.service.workers()
        for file in worker.open_files()
        if file.path.endswith("state.lock")
    }
    (path,) = files
    with path.open("w") as lock:
        two.wait_for(lambda: not _is_locked(lock))
        asked = [two.ask(path) for path in ("/api/depth", "/embed-image") * 3]
        assert [each.result().status_code for each in asked] == [200] * 6
        assert two.service.post("/api/models/large/load").status_code == 200
        assert two.service.post("/api/models/large/unload").status_code == 200


def _is_locked(lock: TextIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def test_nobody_waits_for_a_stopped_worker(two: Faulty) -> None:
    two.wait_for(lambda: len(two.service.workers()) == 2)
    stopped, other = two.service.workers()
    stopped.suspend()
    try:
        # At first the others may still send it orders, but after some seconds without a sign of
        # life they ignore it.
        for path in ("/api/models/large/load", "/api/models/large/unload"):
            assert two.service.post(path).status_code == 200
        assert two.service.post("/api/models/base/load").elapsed.total_seconds() < 10
        asked = [two.ask(path) for path in ("/api/depth", "/embed-image") * 3]
        assert [each.result().status_code for each in asked] == [200] * 6
        assert two.service.get("/health").status_code == 200
    finally:
        stopped.resume()
    assert two.service.post("/api/models/base/unload").status_code == 200
    assert {worker.pid for worker in two.service.workers()} == {stopped.pid, other.pid}
