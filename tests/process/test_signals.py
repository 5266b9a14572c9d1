# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests that the service keeps the wanted number of workers, whatever signals arrive."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from benchmarks.service import Service
from tests.waiting import wait_for

STEPS = int(os.environ.get("SIGNAL_STEPS", "12"))
MOST = 4


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Run a service without any model, so that workers start quickly."""
    folder = tmp_path_factory.mktemp("signals")
    with Service(
        folder / "log",
        HF_HUB_CACHE=folder / "hub",
        HF_HUB_OFFLINE=1,
        WEB_CONCURRENCY=2,
        WARMUP_ON_STARTUP="false",
    ).started() as running:
        running.wait_for("/health", 200)
        yield running


def has(service: Service, number: int) -> None:
    """Wait until there are this many workers and the number stays the same for a moment."""
    since = 0.0

    def settled() -> bool:
        nonlocal since
        if len(service.workers()) != number:
            since = 0.0
            return False
        since = since or time.monotonic()
        return time.monotonic() - since > 0.5

    wait_for(settled, service=service)
    assert service.get("/health").status_code == 200


def test_two_signals_to_have_fewer_workers_leave_one(service: Service) -> None:
    has(service, 2)
    for _ in range(3):
        send(service, "TTOU")
    has(service, 1)
    send(service, "TTIN")
    has(service, 2)


def test_ctrl_c_reaches_the_workers_too_and_only_the_master_acts(service: Service) -> None:
    """Workers that acted on it, too, sometimes hung until they were killed 30 seconds later."""
    has(service, 2)
    workers = service.workers()
    for worker in workers:
        worker.send_signal(signal.SIGINT)
    for _ in range(4):
        assert service.get("/health").status_code == 200
    assert service.workers() == workers


def send(service: Service, name: str) -> None:
    """Send a signal and wait until the master begins to act on it.

    Signals that come sooner may be merged with it or overtake it.
    """
    line = f"Handling signal: {name.lower()}"
    before = service.text().count(line)
    os.kill(service.pid, getattr(signal, f"SIG{name}"))
    wait_for(lambda: service.text().count(line) > before, service=service)


@pytest.mark.timeout(600 + 20 * STEPS)
def test_any_sequence_of_signals(service: Service) -> None:
    """TTIN adds a worker, TTOU removes one but never the last, HUP restores the initial number."""
    dice = random.Random(int(os.environ.get("SIGNAL_SEED", "18")))
    send(service, "HUP")
    wanted = 2
    has(service, wanted)
    history = []
    for _ in range(STEPS):
        step = dice.choice(["TTIN", "TTOU", "TTOU", "HUP", "USR1", "kill", "term", "stop"])
        history.append(step)
        if step in ("TTIN", "TTOU", "HUP", "USR1"):
            if step == "TTIN" and wanted == MOST:
                continue
            send(service, step)
            wanted = {"TTIN": wanted + 1, "TTOU": max(1, wanted - 1), "HUP": 2}.get(step, wanted)
        elif workers := service.workers():
            with suppress(psutil.NoSuchProcess):
                victim = dice.choice(workers)
                if step == "stop":
                    victim.suspend()
                victim.terminate() if step == "term" else victim.kill()
        assert service.process.poll() is None, (history, service.text()[-5000:])
    has(service, wanted)
    wait_for(lambda: not service.zombies(), service=service)
    assert "Traceback" not in service.text()


def test_workers_free_the_ports_when_the_master_is_killed(tmp_path: Path) -> None:
    """Even a stopped worker frees the ports, so that a new service can start on them."""
    service = Service(
        tmp_path / "log",
        HF_HUB_CACHE=tmp_path / "hub",
        HF_HUB_OFFLINE=1,
        WEB_CONCURRENCY=2,
        WARMUP_ON_STARTUP="false",
        SHUTDOWN_TIMEOUT_SECONDS=5,
    )
    with service.started():
        service.wait_for("/health", 200)
        wait_for(lambda: len(service.workers()) == 2, service=service)
        orphans = service.workers()
        orphans[0].suspend()
        service.process.kill()
        service.process.wait()
    with service.started():
        service.wait_for("/health", 200)
        _, alive = psutil.wait_procs(orphans, timeout=240)
        assert not alive, "workers of the killed master are still there"
