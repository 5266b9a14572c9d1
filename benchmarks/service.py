# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Starts the service as a user does: gunicorn with the project's configuration."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import requests

PROJECT = Path(__file__).resolve().parents[1]
# A machine that is busy with other work takes long; only a hang takes longer.
START_SECONDS = 240.0
ANSWER_SECONDS = 240.0


def free_port() -> int:
    """Return a port on which nothing listens at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Service:
    """Runs one gunicorn on free loopback ports, with its own environment variables."""

    #: the folder of the program that runs
    project = PROJECT

    def __init__(self, log: Path, config: Path | None = None, **environ: object) -> None:
        self.depth_port, self.embedder_port = free_port(), free_port()
        self.log = log
        self._config = config
        ours = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        self.environ = ours | {
            "AI_SERVICE_PORT": str(self.depth_port),
            "IMAGE_EMBEDDER_PORT": str(self.embedder_port),
            "IMAGE_EMBEDDER_HOST": "127.0.0.1",
            # Benchmarks and tests send few photos many times; the cache would answer them.
            "EMBED_CACHE_SIZE": "0",
            **{name: str(value) for name, value in environ.items()},
        }
        self._process: subprocess.Popen[bytes] | None = None

    @contextmanager
    def started(self, prefix: Sequence[str] = ()) -> Iterator[Service]:
        """Run it during the block, then stop or kill it.

        ``prefix`` goes before its command line.
        """
        config = self._config or self.project / "gunicorn.conf.py"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*prefix, sys.executable, "-m", "gunicorn", "--config", str(config)],
                cwd=self.project,
                env=self.environ,
                stdout=log,
                stderr=log,
            )
        try:
            yield self
        finally:
            self.stop()

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    @property
    def pid(self) -> int:
        return self.process.pid

    def workers(self) -> list[psutil.Process]:
        """Return the worker processes; the download process is not one of them."""
        found = []
        for child in psutil.Process(self.pid).children():
            with suppress(psutil.Error):  # the child may have just ended
                if "gunicorn" in " ".join(child.cmdline()):
                    found.append(child)
        return found

    def zombies(self) -> list[psutil.Process]:
        """Return the children that have ended, but for which the master has not waited."""
        found = []
        for child in psutil.Process(self.pid).children():
            with suppress(psutil.NoSuchProcess):  # the master may have just waited for it
                if child.status() == psutil.STATUS_ZOMBIE:
                    found.append(child)
        return found

    def stop(self, seconds: float = 40.0) -> int:
        """Send SIGTERM and return the exit code; if it hangs, kill it and raise TimeoutExpired."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            for child in psutil.Process(self.pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    child.kill()
            self.process.kill()
            self.process.wait()
            raise

    def url(self, path: str, port: int | None = None) -> str:
        return f"http://127.0.0.1:{port or self.embedder_port}{path}"

    def get(self, path: str, port: int | None = None, **options: Any) -> requests.Response:
        return requests.get(self.url(path, port), timeout=ANSWER_SECONDS, **options)

    def post(self, path: str, port: int | None = None, **options: Any) -> requests.Response:
        return requests.post(self.url(path, port), timeout=ANSWER_SECONDS, **options)

    def delete(self, path: str, port: int | None = None) -> requests.Response:
        """Send a DELETE request."""
        return requests.delete(self.url(path, port), timeout=ANSWER_SECONDS)

    def text(self) -> str:
        """Return what it has written to its log so far."""
        return self.log.read_text()

    def wait_for(self, path: str, status: int) -> requests.Response:
        """Repeat the request until the answer has this status."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"the service ended:\n{self.text()}")
            try:
                response = self.get(path)
            except requests.ConnectionError:
                time.sleep(0.1)
                continue
            if response.status_code == status:
                return response
            time.sleep(0.1)
        raise AssertionError(f"{path} did not answer {status}:\n{self.text()}")

    def wait_until_ready(self) -> None:
        """Wait until /ready answers 200; any worker may be the one that answers."""
        self.wait_for("/ready", 200)

    def wait_until_warm(self) -> None:
        """Wait until the service is ready and the depth model is loaded or unavailable.

        This is more than /ready says: if both families are enabled, /ready covers only one default
        model.
        """
        self.wait_until_ready()
        end = time.monotonic() + START_SECONDS
        while "depth" in self.environ.get("ENABLED_FAMILIES", "depth"):
            if self.get("/health").json()["model_status"] in ("loaded", "unavailable"):
                return
            if time.monotonic() > end:
                raise AssertionError(f"the depth model did not load:\n{self.text()}")
            time.sleep(0.05)
