# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Prometheus metrics of requests and inferences, summed over all workers.

prometheus_client keeps the numbers of each process in files, and the worker that answers
``/metrics`` adds them up. Here a set of files belongs to a worker's slot instead of a process: a
new worker continues the files of the ended worker whose slot it takes. Therefore no counter falls
when a worker ends, even by a crash, and the number of files does not grow. The files are in the
folder of the shared state, which is created at each start of the service and removed at its end.
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

#: Label in place of unknown routes and methods, so that clients cannot create new series.
OTHER = "other"
#: HTTP methods that at least one route accepts.
METHODS = {"GET", "HEAD", "POST", "DELETE", "OPTIONS"}
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_IMAGES = (1, 2, 4, 8, 16, 32)
# Sizes of the files of one worker, larger than all its series (tests/unit/test_metrics.py).
COUNTER_BYTES = 512 * 2**10
HISTOGRAM_BYTES = 128 * 2**10
HISTOGRAM_BYTES_PER_MODEL = 32 * 2**10


class Metrics:
    """Counts requests, their durations and batches, once a worker has called ``start``.

    The master creates this object before it forks workers.
    """

    def __init__(self, shared: SharedState) -> None:
        self._shared = shared
        self._folder = shared.folder / "metrics"
        self._counts = False
        # prometheus_client reads these two values whenever it creates a series for new labels.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(self._folder)
        values.ValueClass = values.MultiProcessValue(lambda: shared.slot)  # type: ignore[no-untyped-call]
        # Keep the help texts short: the files repeat them for each series.
        self._requests = Counter(
            "twinlens_http_requests_total",
            "Requests that were answered.",
            ["route", "method", "status"],
            registry=None,
        )
        self._durations = Histogram(
            "twinlens_http_request_duration_seconds",
            "Seconds from the headers of a request to its answer.",
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
            "Inputs in one batch.",
            ["model"],
            registry=None,
            buckets=_IMAGES,
        )
        self._cache = Counter(
            "twinlens_embed_cache_images_total",
            "Images looked up in the cache of vectors.",
            ["result"],
            registry=None,
        )
        self._film_frames = Counter(
            "twinlens_film_frames_total",
            "Frames of films that were made.",
            ["model"],
            registry=None,
        )

    def start(self, models: int) -> None:
        """Reserve disk space for this worker's files, before its first request.

        The files are memory-mapped, so a write for which there is no space would kill the process.

        Args:
            models: number of rows in the table of models.
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
            log.warning("this worker is missing from /metrics: %s", error.strerror)

    def answered(self, route: str | None, method: str, status: int, seconds: float) -> None:
        """Count an answered request.

        Args:
            route: the rule, such as ``/api/models/<key>``; None if no route matched.
            method: the HTTP method as the client sent it.
            status: the HTTP status of the answer.
            seconds: from the head of the request to the answer.
        """
        if self._counts:
            with suppress(OSError):  # a failure to count must not spoil the answer
                method = method if method in METHODS else OTHER
                self._requests.labels(route or OTHER, method, status).inc()
                self._durations.labels(route or OTHER).observe(seconds)

    def malformed(self, status: int) -> None:
        """Count a request that the HTTP server refused because it could not be parsed."""
        if self._counts:
            with suppress(OSError):
                self._requests.labels(OTHER, OTHER, status).inc()

    def worked(self, model: str, stages: Mapping[str, float]) -> None:
        """Record the stages of an answered request.

        Args:
            model: key of the model.
            stages: seconds of each stage; those of 0 seconds did not take place and are left out.
        """
        if self._counts:
            with suppress(OSError):
                for stage, seconds in stages.items():
                    if seconds:
                        self._stages.labels(model, stage).observe(seconds)

    def made_frames(self, model: str, frames: int) -> None:
        """Count further frames of a film for which the depth is known."""
        if self._counts:
            with suppress(OSError):
                self._film_frames.labels(model).inc(frames)

    def looked_up(self, hits: int, misses: int) -> None:
        """Count images whose vector was in the cache, and others."""
        if self._counts:
            with suppress(OSError):
                self._cache.labels("hit").inc(hits)
                self._cache.labels("miss").inc(misses)

    def ran(self, loaded: LoadedNetwork, inputs: int) -> None:
        """Record that a network ran ``inputs`` inputs as one batch."""
        if self._counts:
            with suppress(OSError):
                self._batches.labels(loaded.id.spec.key).observe(inputs)

    def collect(self) -> Iterable[Metric]:
        """The sums over all workers, ended ones included; see prometheus_client's Collector."""
        # A file for which no space could be reserved is empty and cannot be read.
        files = [str(path) for path in sorted(self._folder.glob("*.db")) if path.stat().st_size]
        merged: Iterable[Metric] = MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]
        return merged
