# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests the service as a container runs it: as PID 1, with a health check that needs no curl."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from benchmarks.service import PROJECT, Service, free_port

UNSHARE = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
if os.getuid():
    UNSHARE += ["--user", "--map-root-user"]


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Run a service without models as PID 1 of its own process namespace."""
    if subprocess.run([*UNSHARE, "true"], capture_output=True).returncode:
        pytest.skip("namespaces of processes are not allowed here")
    folder = tmp_path_factory.mktemp("idle")
    service = Service(
        folder / "log", HF_HUB_CACHE=folder, HF_HUB_OFFLINE=1, WARMUP_ON_STARTUP="false"
    )
    with service.started(prefix=UNSHARE):
        service.wait_for("/health", 200)
        yield service


def check(**environ: object) -> subprocess.CompletedProcess[str]:
    """Run the image's health check."""
    return subprocess.run(
        [sys.executable, "-m", "app.server.alive"],
        cwd=PROJECT,
        env={name: str(value) for name, value in environ.items()},
        capture_output=True,
        text=True,
        timeout=240,
    )


def test_a_healthy_service_is_alive(idle: Service, tmp_path: Path) -> None:
    place = {"IMAGE_EMBEDDER_HOST": "127.0.0.1", "IMAGE_EMBEDDER_PORT": idle.embedder_port}
    assert check(**place).returncode == 0
    proxied = check(**place, http_proxy="http://127.0.0.1:9", HTTP_PROXY="http://127.0.0.1:9")
    assert proxied.returncode == 0, "a proxy is for downloads"
    file = tmp_path / "settings.toml"
    file.write_text(f"IMAGE_EMBEDDER_PORT = {idle.embedder_port}\n")
    assert check(CONFIG_FILE=file).returncode == 0


def test_where_nobody_answers_it_says_so() -> None:
    dead = check(IMAGE_EMBEDDER_PORT=free_port())
    assert dead.returncode == 1
    assert "/health does not answer" in dead.stderr


def test_as_pid_1_it_reaps_orphans_and_stops(idle: Service) -> None:
    (first,) = psutil.Process(idle.pid).children()
    before = {child.pid for child in first.children()}
    enter = ["nsenter", "--target", str(first.pid), "--pid", *(["--user"] if os.getuid() else [])]
    subprocess.run([*enter, "sh", "-c", "sleep 0.5 & sleep 0.5 & exit 0"], check=True)
    orphans = [child for child in first.children() if child.pid not in before]
    assert len(orphans) == 2, "they were given to PID 1"
    end = time.monotonic() + 90
    while any(orphan.is_running() for orphan in orphans):  # true for zombies, too
        assert time.monotonic() < end, "nobody reaped them"
        time.sleep(0.1)
    first.send_signal(signal.SIGTERM)
    assert idle.process.wait(90) == 0, idle.text()
