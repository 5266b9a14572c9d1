# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests that ``GET /metrics`` of a service with two workers reports what really happened."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from prometheus_client.openmetrics import parser as openmetrics

from benchmarks.service import Service
from tests.contract import check
from tests.process.conftest import LONG, SMALL, Faulty, Stream, only, reload
from tests.scrape import Scrape

REQUESTS = "twinlens_http_requests_total"
RESTARTS = "twinlens_worker_restarts_total"
RESIDENT = "twinlens_memory_resident_bytes"


@pytest.fixture(scope="module")
def two(start_faulty: Callable[..., Faulty]) -> Faulty:
    two = start_faulty(WEB_CONCURRENCY=2)
    two.wait_for(lambda: len(two.service.workers()) == 2)
    return two


def scrape(service: Service, port: int | None = None) -> Scrape:
    answer = service.get("/metrics", port=port)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return Scrape(answer.text)


def image() -> dict[str, Any]:
    return {"files": {"image": ("a.png", SMALL)}}


def test_sums_are_right_whichever_worker_is_asked(two: Faulty) -> None:
    kinds = [
        (20, "POST", "/api/depth", image(), "/api/depth", 200),
        (20, "POST", "/embed-image", image(), "/embed-image", 200),
        (8, "POST", "/embed-text", {"json": {"texts": ["a", "b"]}}, "/embed-text", 200),
        (8, "POST", "/api/depth", {}, "/api/depth", 400),
        (8, "GET", "/api/models/huge", {}, "/api/models/<key>", 400),
        (8, "GET", "/api/models/small", {}, "/api/models/<key>", 200),
        (8, "GET", "/no/such/page", {}, "other", 404),
    ]
    before = scrape(two.service)
    with ThreadPoolExecutor(8) as pool:
        sent = [
            pool.submit(requests.request, method, two.service.url(path), timeout=240, **options)
            for count, method, path, options, _, _ in kinds
            for _ in range(count)
        ]
    statuses = Counter(each.result().status_code for each in sent)
    assert statuses == {200: 56, 400: 16, 404: 8}
    asked = []
    for worker in two.service.workers():
        for port in (two.service.depth_port, two.service.embedder_port):
            with only(worker, two.service):
                asked.append(scrape(two.service, port))
    for after in asked:

        def grown(name: str, after: Scrape = after, **labels: object) -> float:
            return after.total(name, **labels) - before.total(name, **labels)

        for count, method, _, _, route, status in kinds:
            assert grown(REQUESTS, method=method, route=route, status=status) == count
        durations = "twinlens_http_request_duration_seconds_count"
        assert grown(durations, route="/api/depth") == 28
        assert grown(durations, route="/api/models/<key>") == 16
        stages = "twinlens_stage_duration_seconds_count"
        assert grown(stages, model="small", stage="infer") == 20
        assert grown(stages, model="small", stage="encode") == 20
        assert grown(stages, model="ViT-L-14", stage="infer") == 28
        assert grown(stages, model="ViT-L-14", stage="decode") == 20
        assert grown("twinlens_batch_size_sum", model="small") == 20
        assert grown("twinlens_batch_size_sum", model="ViT-L-14") == 36, "two texts each"
        assert after.total("twinlens_model_state", model="small", state="loaded") == 1
        assert after.total("twinlens_model_state", model="small") == 1
        assert after.total("twinlens_ready") == after.total("twinlens_healthy") == 1
        assert after.total("twinlens_info", device="cpu") == 1


def test_no_count_falls_when_a_worker_is_killed(two: Faulty) -> None:
    before = last = scrape(two.service)
    with Stream(two):
        for number in range(16):
            if number == 4:
                os.kill(two.service.workers()[0].pid, signal.SIGKILL)
            try:
                now = scrape(two.service)
            except OSError:  # the connection ended with the worker
                continue
            for key, value in last.growing().items():
                assert now.samples[key] >= value, key
            last = now
        two.wait_for(lambda: scrape(two.service).total("twinlens_workers") == 2)
    after = scrape(two.service)
    assert after.total(RESTARTS) - before.total(RESTARTS) == 1
    assert len(after.values(RESIDENT, "worker")) == 2, "that of the dead one is gone"
    largest = max(worker.memory_info().rss for worker in two.service.workers())
    assert largest < after.total(RESIDENT) < 3 * largest


def test_a_reload_keeps_the_counts(two: Faulty) -> None:
    two.ask("/api/depth").result()
    before = scrape(two.service)
    reload(two)
    after = scrape(two.service)
    for key, value in before.growing().items():
        assert after.samples[key] >= value, key
    assert after.total(RESTARTS) - before.total(RESTARTS) == 2
    two.ask("/api/depth").result()
    again = scrape(two.service)
    assert again.total(REQUESTS, route="/api/depth") == 1 + after.total(
        REQUESTS, route="/api/depth"
    )
    assert len(again.values(RESIDENT, "worker")) == 2


def test_no_client_can_make_series(two: Faulty) -> None:
    for path in ("/evil", "/api/models/evil", "/api/depth?model=evil", "/%00evil", "/docs/evil"):
        for method in ("GET", "POST", "DELETE", "EVIL", "PATCH", "E" * 300):
            headers = {"X-Request-ID": "evil", "User-Agent": "evil", "Host": "evil"}
            requests.request(method, two.service.url(path), headers=headers, timeout=240)
    before = scrape(two.service)
    for number in range(20):
        path = f"/evil{number}/{number}"
        requests.request(f"EVIL{number}", two.service.url(path), timeout=240)
        requests.get(two.service.url(f"/api/models/evil{number}"), timeout=240)
    with socket.create_connection(("127.0.0.1", two.service.depth_port)) as client:
        client.sendall(b"EV\x00IL / HTTP/1.1\r\n\r\n")
        assert b" 400 " in client.recv(100)
    after = scrape(two.service)
    assert "evil" not in after.text.lower()
    assert after.samples.keys() == before.samples.keys()
    malformed = {"method": "other", "route": "other", "status": 400}
    assert after.total(REQUESTS, **malformed) == before.total(REQUESTS, **malformed) + 1
    methods = after.values(REQUESTS, "method")
    assert methods <= {"GET", "HEAD", "POST", "DELETE", "OPTIONS", "other"}


def test_it_answers_while_the_device_is_busy(two: Faulty) -> None:
    two.plan("slow", LONG)
    asked = two.ask("/api/depth")
    queue = "twinlens_queue_requests"
    two.wait_for(lambda: scrape(two.service).total(queue, state="in_flight") == 1)
    assert not asked.done()
    assert scrape(two.service).total("twinlens_queue_bytes") >= len(SMALL)
    two.heal("slow")
    assert asked.result().status_code == 200


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text"),
        ("text/html, */*", "text/plain"),
        ("text/plain; version=1.0.0", "text/plain"),
        ("text/plain; version=evil", "text/plain"),
        ("application/openmetrics-text; version=\xff.", "text/plain"),
    ],
)
def test_both_formats_are_what_they_say(two: Faulty, accept: str, kind: str) -> None:
    answer = two.service.get("/metrics", headers={"Accept": accept.encode("latin-1")})
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith(kind)
    if kind == "text/plain":
        assert Scrape(answer.text).total("twinlens_workers") == 2
    else:
        families = openmetrics.text_string_to_metric_families(answer.text)  # type: ignore[no-untyped-call]
        assert "twinlens_http_requests" in {family.name for family in families}


def test_promtool_finds_nothing_wrong(two: Faulty) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not here; `make debian` brings it")
    two.ask("/api/depth").result()
    text = two.service.get("/metrics").text
    done = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")


def test_a_restart_begins_at_zero(hub: Path, tmp_path: Path) -> None:
    service = Service(
        tmp_path / "log",
        HF_HUB_CACHE=hub,
        HF_HUB_OFFLINE=1,
        WARMUP_ON_STARTUP="false",
        PROMETHEUS_MULTIPROC_DIR=tmp_path,  # must be ignored, because others may use that folder
    )
    folders = []
    for _ in range(2):
        with service.started():
            service.wait_for("/health", 200)
            assert scrape(service).total(REQUESTS, route="/models") == 0
            check.json(service.get("/models"))
            assert scrape(service).total(REQUESTS, route="/models") == 1
            files = psutil.Process(service.pid).open_files()
            folders += [
                Path(file.path).parent
                for file in files
                if file.path.endswith("/alive") and Path(file.path).with_name("metrics").exists()
            ]
            assert any((folders[-1] / "metrics").iterdir())
    assert len(set(folders)) == 2
    assert not any(folder.exists() for folder in folders)
    assert {path.name for path in tmp_path.iterdir()} == {"log"}
