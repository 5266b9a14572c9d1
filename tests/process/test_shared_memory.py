# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests a service whose /dev/shm, which its processes share, is full."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from benchmarks.service import Service
from tests.contract import check
from tests.waiting import wait_for

SMALL_SHM = 'mount -t tmpfs -o size=4m,nr_inodes=100 tmpfs /dev/shm && exec "$@"'
PREFIX = ["unshare", "--mount", "sh", "-c", SMALL_SHM, "sh"]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    if subprocess.run([*PREFIX, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a file system of its own")
    folder = tmp_path_factory.mktemp("shm")
    with Service(
        folder / "log",
        HF_HUB_CACHE=folder / "hub",
        HF_HUB_OFFLINE=1,
        WARMUP_ON_STARTUP="false",
        DEPTH_MODEL="builtin-depth",
    ).started(prefix=PREFIX) as running:
        running.wait_for("/health", 200)
        yield running


def shared(service: Service) -> Path:
    return Path(f"/proc/{service.pid}/root/dev/shm")


@pytest.fixture
def no_inodes(service: Service) -> Iterator[list[Path]]:
    made: list[Path] = []
    with suppress(OSError):
        while True:
            path = shared(service) / f"filler-{len(made)}"
            path.touch()
            made.append(path)
    yield made
    for path in made:
        path.unlink(missing_ok=True)


@pytest.fixture
def no_bytes(service: Service) -> Iterator[None]:
    path = shared(service) / "filler"
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    yield
    path.unlink()


def test_a_reload_without_room_keeps_the_workers(service: Service, no_inodes: list[Path]) -> None:
    (worker,) = service.workers()
    os.kill(service.pid, signal.SIGHUP)
    wait_for(lambda: "a worker cannot be started" in service.text(), service=service)
    assert service.get("/health").status_code in (200, 503)
    assert [each.pid for each in service.workers()] == [worker.pid]
    while no_inodes:
        no_inodes.pop().unlink()
    os.kill(service.pid, signal.SIGHUP)
    wait_for(
        lambda: len(service.workers()) == 1 and service.workers()[0] != worker, service=service
    )
    wait_for(lambda: service.get("/health").status_code == 200, service=service)


@pytest.mark.usefixtures("no_bytes")
def test_what_cannot_be_shared_is_503_with_the_reason(service: Service) -> None:
    for path in ("/api/models/builtin-depth/load", "/api/models/builtin-depth/unload"):
        refused = service.post(path)
        check.error(refused, 503)
        assert "No space left on device" in refused.json()["message"]
        assert int(refused.headers["Retry-After"]) > 0
    assert service.get("/health").status_code == 200


@pytest.mark.usefixtures("no_inodes")
def test_a_worker_that_is_killed_without_room_comes_back_when_there_is_some(
    service: Service, no_inodes: list[Path]
) -> None:
    (worker,) = service.workers()
    worker.kill()
    wait_for(
        lambda: not service.workers() or service.workers()[0].pid != worker.pid, service=service
    )
    while no_inodes:
        no_inodes.pop().unlink()
    wait_for(service.workers, service=service)
    service.wait_for("/health", 200)
