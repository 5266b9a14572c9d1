# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Defines a Ray cluster of three machines that all tests of this folder share."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.service import PROJECT
from tests.process.folders import environ


class Machines:
    """Runs ``machines.py``."""

    _state: dict[str, Any]

    def __init__(self, hub: Path, log: Path) -> None:
        self.environ = {
            **environ(hub),
            "DEFAULT_MODEL": "builtin-clip",
            "DEPTH_MODEL": "builtin-depth",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_BACKEND_LOG_LEVEL": "fatal",
            # Ray takes a machine for dead after this long without a sign of life.
            "RAY_health_check_period_ms": "1000",
            "RAY_health_check_failure_threshold": "10",
        }
        self._log = log
        with log.open("w") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.cluster.machines"],
                cwd=PROJECT,
                env=self.environ,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
            )

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                state: dict[str, Any] = json.loads(line)
                return state
        raise AssertionError(self._log.read_text())

    def start(self) -> None:
        """Wait until it runs."""
        self._state = self._read()

    @property
    def address(self) -> str:
        return str(self._state["address"])

    def kill_one(self) -> None:
        """Kill a machine, which the driver is not on, with all its processes."""
        os.kill(self._state["raylets"][-1], signal.SIGKILL)

    def add_one(self) -> None:
        """Put another machine in its place."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self._state = self._read()

    def close(self) -> None:
        self._process.communicate(timeout=240)


@pytest.fixture(scope="package")
def machines(built_in: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """Yield a cluster of three machines with the built-in models."""
    running = Machines(built_in, tmp_path_factory.mktemp("ray") / "log")
    try:
        running.start()
        yield running
    finally:
        running.close()
