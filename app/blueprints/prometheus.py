# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""``GET /metrics``: counters and the current state, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import get_args

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.exposition import choose_encoder

from app.blueprints.exchange import runtime
from app.blueprints.health import engine_in_use
from app.host import memory
from app.lending.entry import ModelStatus, State
from app.runtime import Runtime
from config.version import VERSION

blueprint = Blueprint("prometheus", __name__)

_MB = 2**20


@blueprint.get("/metrics")
def metrics() -> ResponseReturnValue:
    """Answer in Prometheus' text format, or in OpenMetrics if the client prefers that."""
    try:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    except TypeError:  # the Accept header names a version that is not a number
        encode, content_type = choose_encoder("")
    return Response(encode(_Scrape(runtime())), content_type=content_type)


class _Scrape:
    """Collects the metrics for one answer; every worker answers for the whole service."""

    def __init__(self, service: Runtime) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client's Collector."""
        statuses = self._service.reports.statuses()
        yield from self._service.metrics.collect()
        yield from self._service_state(statuses)
        yield from self._queue()
        yield from _models(statuses)
        yield from self._memory()

    def _service_state(self, statuses: Iterable[ModelStatus]) -> Iterator[Metric]:
        service = self._service
        about = {"version": VERSION, "device": service.device().type, **engine_in_use(statuses)}
        yield InfoMetricFamily("twinlens", "Version, device and engine in use.", about)
        yield _gauge("ready", "Whether /ready is 200.", service.is_ready())
        yield _gauge("healthy", "Whether /health is 200.", not service.reports.troubles())
        yield _gauge("workers", "Processes that take requests.", len(service.shared.workers()))
        restarts = max(0, service.shared.forks() - service.settings.web_concurrency)
        yield CounterMetricFamily(
            "twinlens_worker_restarts",
            "Workers started to replace others, for any reason.",
            restarts,
        )

    def _queue(self) -> Iterator[Metric]:
        figures = self._service.waiting_room.figures()
        states = {"in_flight": figures.in_flight, "waiting": figures.waiting}
        yield _gauge("queue_requests", "Requests that work or wait for a device.", state=states)
        yield _gauge("queue_max_requests", "IMAGE_EMBEDDER_MAX_QUEUE.", figures.max_queue)
        held = self._service.shared.total("held_bytes")
        yield _gauge("queue_bytes", "Bodies of the requests under way.", held)
        most = self._service.settings.max_waiting_bytes
        yield _gauge("queue_max_bytes", "MAX_WAITING_BYTES.", most)
        kept = self._service.shared.total("cache_size")
        yield _gauge("embed_cache_vectors", "In the caches of all workers.", kept)

    def _memory(self) -> Iterator[Metric]:
        shared = self._service.shared
        resident = {
            str(slot): memory.resident_mb(shared.pid(slot)) * _MB
            for slot in sorted({*shared.workers(), *shared.leaving()})
        }
        alive = {slot: size for slot, size in resident.items() if size}
        yield _gauge("memory_resident_bytes", "Of each worker, by its place.", worker=alive)
        allocated: dict[str, float] = {}
        reserved: dict[str, float] = {}
        for report in self._service.reports.all():
            if report.device and report.device.type.startswith("cuda"):
                name = report.device.type
                allocated[name] = allocated.get(name, 0) + report.allocated_mb * _MB
                reserved[name] = reserved.get(name, 0) + report.reserved_mb * _MB
        yield _gauge("gpu_memory_allocated_bytes", "In use, all workers.", device=allocated)
        yield _gauge("gpu_memory_reserved_bytes", "Held, all workers.", device=reserved)


def _models(statuses: Iterable[ModelStatus]) -> Iterator[Metric]:
    state = GaugeMetricFamily(
        "twinlens_model_state", "1 for the state that a model is in.", labels=["model", "state"]
    )
    for status in statuses:
        for each in get_args(State):
            state.add_metric([status.spec.key, each], status.state == each)
    yield state
    loading = [each for each in statuses if each.total_bytes is not None]
    done = {each.spec.key: each.downloaded_bytes or 0 for each in loading}
    total = {each.spec.key: each.total_bytes or 0 for each in loading}
    yield _gauge("model_downloaded_bytes", "Of a model that is being downloaded.", model=done)
    yield _gauge("model_total_bytes", "Of a model that is being downloaded.", model=total)


def _gauge(
    name: str, text: str, value: float | None = None, **labelled: Mapping[str, float]
) -> GaugeMetricFamily:
    """A gauge with a single value, or with one label and a value for each value of the label."""
    family = GaugeMetricFamily(f"twinlens_{name}", text, value, labels=list(labelled) or None)
    for values in labelled.values():
        for label, each in values.items():
            family.add_metric([label], each)
    return family
