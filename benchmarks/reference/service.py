# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Start the reference as a service of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from benchmarks.service import PROJECT, Service

#: which of ``benchmarks.reference.networks``
Network = Literal["depth", "embedding", "openvino"]


class Reference(Service):
    """One gunicorn with one worker and one model; it listens on ``embedder_port`` only."""

    def __init__(self, log: Path, cache: Path, model: str, network: Network) -> None:
        super().__init__(
            log,
            config=PROJECT / "benchmarks" / "reference" / "gunicorn_conf.py",
            HF_HUB_CACHE=cache,
            HF_HUB_OFFLINE=1,
            REFERENCE_MODEL=model,
            REFERENCE_NETWORK=network,
        )
        # Inference may use all cores, whatever our own environment says.
        self.environ.pop("OMP_NUM_THREADS", None)

    def wait_until_warm(self) -> None:
        """Its model is loaded before it answers."""
        self.wait_until_ready()

    def stop(self, seconds: float = 40.0) -> int:
        """Kill it: how it ends is not measured, and torch takes seconds to."""
        if self.process.poll() is None:
            workers = self.workers()
            self.process.kill()
            for worker in workers:
                worker.kill()
        return self.process.wait(seconds)
