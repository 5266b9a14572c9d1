# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests what the service logs at its start: its address, when it is ready, why it cannot listen."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.server.ports import require_free
from benchmarks.service import Service
from config.settings import Settings
from tests.waiting import wait_for


@pytest.fixture
def taken() -> Iterator[int]:
    """Yield a port on which another program already listens."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port: int = other.getsockname()[1]
        yield port


def settings(port: int, host: str = "127.0.0.1") -> Settings:
    return Settings(image_embedder_port=port, image_embedder_host=host)


def test_the_log_says_once_which_address_to_open(tmp_path: Path) -> None:
    service = Service(
        tmp_path / "log",
        WEB_CONCURRENCY=2,
        HF_HUB_CACHE=tmp_path / "hub",
        HF_HUB_OFFLINE=1,
        DEPTH_MODEL="builtin-depth",
        DEFAULT_MODEL="builtin-clip",
        WARMUP_ON_STARTUP="false",  # so that nothing is converted
    )
    address = f"http://localhost:{service.embedder_port}/ui"
    line = f"ready: open {address} in a browser"
    with service.started():
        service.wait_until_ready()
        wait_for(lambda: line in service.text(), service=service)
        time.sleep(1)  # gives the other worker time to log it, too
    assert service.text().count(line) == 1
    assert service.text().index(f"listening on {address}") < service.text().index(line)


def test_ports_in_use_are_named_with_their_settings(taken: int, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as second:
        also_taken = second.getsockname()[1]
        service = Service(
            tmp_path / "log",
            AI_SERVICE_PORT=taken,
            IMAGE_EMBEDDER_PORT=also_taken,
            HF_HUB_CACHE=tmp_path / "hub",
            HF_HUB_OFFLINE=1,
        )
        with service.started():
            assert service.process.wait(90) == os.EX_CONFIG
    said = service.text()
    assert "Twinlens cannot start" in said
    for name, port in (("AI_SERVICE_PORT", taken), ("IMAGE_EMBEDDER_PORT", also_taken)):
        assert f"{name}={port}: another program listens on this port" in said
    assert "Traceback" not in said
    assert "Connection in use" not in said


def test_a_port_that_becomes_free_is_waited_for(capfd: pytest.CaptureFixture[str]) -> None:
    other = socket.create_server(("127.0.0.1", 0))
    port = other.getsockname()[1]
    threading.Timer(0.5, other.close).start()
    require_free([("127.0.0.1", port)], settings(port), patience=60)
    assert "cannot start" not in capfd.readouterr().err


def test_one_port_for_both_names_both(taken: int, capfd: pytest.CaptureFixture[str]) -> None:
    both = settings(taken).model_copy(update={"ai_service_port": taken})
    with pytest.raises(SystemExit) as end:
        require_free([("127.0.0.1", taken)], both, patience=0)
    assert end.value.code == os.EX_CONFIG
    assert "AI_SERVICE_PORT and IMAGE_EMBEDDER_PORT" in capfd.readouterr().err


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "no-such-host.invalid"])
def test_an_address_of_another_machine_is_named_at_once(
    host: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        require_free([(host, 8000)], settings(8000, host))
    assert end.value.code == os.EX_CONFIG
    assert f"IMAGE_EMBEDDER_HOST={host}: this machine has no such address" in (
        capfd.readouterr().err
    )


def test_other_addresses_are_left_to_gunicorn(taken: int) -> None:
    require_free([("127.0.0.1", taken), "/run/twinlens.sock", 3], settings(8000), patience=0)
