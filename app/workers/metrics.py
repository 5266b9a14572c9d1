# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""What is counted while requests are answered, over all workers.

prometheus_client keeps the numbers of each process in files, and whoever is asked adds them up.
Here the files belong to a worker's slot instead of a process: the worker that gets the slot of
one that ended goes on where that one stopped. So no counter falls when a worker ends, however it
ended, and there are never more files than workers that ran at the same time. They lie in the
folder of the shared state, which is new at each start and goes with the service.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress

from prometheus_client import Counter, Histogram, Metric, values
from prometheus_client.multiprocess import MultiProcessCollector

from app.host.shared_state import SharedState
from app.lending.loaded import LoadedNetwork

log = logging.getLogger("twinlens.metrics")

#: Stands for whatever a client made up, so that no client can make new series.
OTHER = "other"
#: Those that some route has.
METHODS = {"GET", "HEAD", "POST", "DELETE", "OPTIONS"}
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_IMAGES = (1, 2, 4, 8, 16, 32)
# More than all series of a worker take, held by tests/unit/test_metrics.py.
COUNTER_BYTES = 256 * 2**10
HISTOGRAM_BYTES = 128 * 2**10
HISTOGRAM_BYTES_PER_MODEL = 32 * 2**10


class Metrics:
    """Made once in the master, after the shared state; a process counts from ``start`` on."""

    def __init__(self, shared: SharedState) -> None:
        self._shared = shared
        self._folder = shared.folder / "metrics"
        self._counts = False
        # prometheus_client looks for both whenever it meets new labels.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(self._folder)
        values.ValueClass = values.MultiProcessValue(lambda: shared.slot)  # type: ignore[no-untyped-call]
        # Each text stands in the files once for each series.
        self._requests = Counter(
            "twinlens_http_requests_total",
            "Requests that were answered.",
            ["route", "method", "status"],
            registry=None,
        )
        self._durations = Histogram(
            "twinlens_http_request_duration_seconds",
            "From the head of a request to its answer.",
            ["route"],
            registry=None,
            buckets=_SECONDS,
        )
        self._stages = Histogram(
            "twinlens_stage_duration_seconds",
            "Stages of answered requests.",
            ["model", "stage"],
            registry=None,
            buckets=_SECONDS,
        )
        self._batches = Histogram(
            "twinlens_batch_size",
            "Inputs that ran together.",
            ["model"],
            registry=None,
            buckets=_IMAGES,
        )

    def start(self, models: int) -> None:
        """In a process that serves, before it does: reserve what its files can come to need.

        They are mapped: without room behind them a write would not fail but end the process.

        Args:
            models: rows of the table of models.
        """
        sizes = {
            "counter": COUNTER_BYTES,
            "histogram": HISTOGRAM_BYTES + models * HISTOGRAM_BYTES_PER_MODEL,
        }
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for kind, size in sizes.items():
                with (self._folder / f"{kind}_{self._shared.slot}.db").open("ab") as file:
                    os.posix_fallocate(file.fileno(), 0, size)
            self._counts = True
        except OSError as error:
            log.warning("this worker counts nothing for /metrics: %s", error.strerror)

    def answered(self, route: str | None, method: str, status: int, seconds: float) -> None:
        """A request got its answer.

        Args:
            route: its rule, such as ``/api/models/<key>``; None where there is none.
            method: as the client sent it.
            status: of the answer.
            seconds: from its head to its answer.
        """
        if self._counts:
            with suppress(OSError):  # the answer matters more
                method = method if method in METHODS else OTHER
                self._requests.labels(route or OTHER, method, status).inc()
                self._durations.labels(route or OTHER).observe(seconds)

    def malformed(self, status: int) -> None:
        """A request was refused by the server that nobody could make sense of."""
        if self._counts:
            with suppress(OSError):
                self._requests.labels(OTHER, OTHER, status).inc()

    def worked(self, model: str, stages: Mapping[str, float]) -> None:
        """A model, a key of the table, worked for an answer; seconds of each stage, 0 for none."""
        if self._counts:
            with suppress(OSError):
                for stage, seconds in stages.items():
                    if seconds:
                        self._stages.labels(model, stage).observe(seconds)

    def ran(self, loaded: LoadedNetwork, inputs: int) -> None:
        """The network of a model ran so many inputs as one batch."""
        if self._counts:
            with suppress(OSError):
                self._batches.labels(loaded.id.spec.key).observe(inputs)

    def collect(self) -> Iterable[Metric]:
        """The sums over all workers, also those that ended; see prometheus_client's Collector."""
        # One that could not be reserved is empty.
        files = [str(path) for path in sorted(self._folder.glob("*.db")) if path.stat().st_size]
        merged: Iterable[Metric] = MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]
        return merged
