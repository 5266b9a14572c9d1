# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Starts the reference as a service."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from benchmarks.service import PROJECT, Service

#: names one of the classes in ``benchmarks.reference.networks``
Network = Literal["depth", "embedding", "openvino", "open_clip"]


class Reference(Service):
    """Runs the reference with one worker and one model, on ``embedder_port`` only."""

    def __init__(self, log: Path, cache: Path, model: str, network: Network) -> None:
        super().__init__(
            log,
            config=PROJECT / "benchmarks" / "reference" / "gunicorn_conf.py",
            HF_HUB_CACHE=cache,
            HF_HUB_OFFLINE=1,
            REFERENCE_MODEL=model,
            REFERENCE_NETWORK=network,
        )
        # Inference may use all cores, even if the environment of this process limits them.
        self.environ.pop("OMP_NUM_THREADS", None)

    def wait_until_warm(self) -> None:
        """Wait until it is ready, which is enough, because it loads its model before it answers."""
        self.wait_until_ready()

    def stop(self, seconds: float = 40.0) -> int:
        """Kill it, because a regular shutdown takes seconds with torch and is not measured."""
        if self.process.poll() is None:
            workers = self.workers()
            self.process.kill()
            for worker in workers:
                worker.kill()
        return self.process.wait(seconds)
