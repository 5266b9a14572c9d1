# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests the metrics, in this process, and that the dashboard uses only metrics that exist."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from flask import Flask
from flask.testing import FlaskClient

from app.blueprints.openapi import document
from app.host.shared_state import SharedState
from app.lending.registry import Registry, networks_of
from app.tasks.results import Timings
from app.workers.metrics import METHODS, OTHER, Metrics
from benchmarks.service import PROJECT
from config.models import ModelSpec
from config.settings import Settings
from tests.pictures import encoded, picture
from tests.scrape import Scrape

DASHBOARD = PROJECT / "config" / "grafana-dashboard.json"
SCALING = PROJECT / "config" / "kubernetes" / "keda.yaml"


@pytest.fixture
def shared() -> Iterator[SharedState]:
    shared = SharedState()
    yield shared
    shared.close()


class Ran:
    """Stands in for a loaded network, of which the metrics need only the id."""

    def __init__(self, spec: ModelSpec) -> None:
        self.id = networks_of(spec)[0]


def files(shared: SharedState) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in (shared.folder / "metrics").iterdir()}


def test_every_series_that_there_can_be_has_room(
    shared: SharedState, app: Flask, settings: Settings
) -> None:
    counted = Metrics(shared)
    specs = Registry(settings).specs()
    counted.start(len(specs))
    reserved = files(shared)
    described = document()["paths"].values()
    statuses = {
        int(code) for path in described for way in path.values() for code in way["responses"]
    }
    statuses |= {405, 409, 499, 501}
    ways = {
        (rule.rule, method) for rule in app.url_map.iter_rules() for method in rule.methods or ()
    }
    ways |= {(OTHER, method) for method in (*METHODS, OTHER)}
    for route, method in ways:
        for status in statuses:
            counted.answered(route, method, status, 0.1)
    for spec in specs:
        counted.worked(spec.key, {stage.name: 0.1 for stage in fields(Timings)})
        counted.ran(Ran(spec), 1)  # type: ignore[arg-type]
        counted.made_frames(spec.key, 1)
    assert files(shared) == reserved, "a file that grows has grown beyond what was reserved"
    total = sum(
        sample.value
        for metric in counted.collect()
        for sample in metric.samples
        if sample.name == "twinlens_http_requests_total"
    )
    assert total == len(ways) * len(statuses)


def test_no_room_costs_the_counts_and_nothing_else(
    shared: SharedState, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    counted = Metrics(shared)
    counted.start(1)
    counted.answered("/health", "GET", 200, 0.1)
    counted.malformed(400)
    assert not list(counted.collect())


def test_a_slot_is_taken_over_with_its_counts(shared: SharedState) -> None:
    counted = Metrics(shared)
    for slot in (1, 2, 1):
        shared.slot = slot
        counted.start(1)
        counted.answered("/health", "GET", 200, 0.1)
    assert len(files(shared)) == 4
    values = [
        sample.value
        for metric in counted.collect()
        for sample in metric.samples
        if sample.name == "twinlens_http_requests_total"
    ]
    assert values == [3]


def test_a_folder_that_somebody_removed(shared: SharedState, client: FlaskClient) -> None:
    folder = client.application.extensions["twinlens"].shared.folder
    shutil.rmtree(folder / "metrics")
    assert client.get("/health").status_code == 200
    assert client.get("/metrics").status_code == 200


def expressions() -> list[str]:
    """Return all queries that the dashboard and KEDA send to Prometheus, with variables filled in.

    The variables are those of Grafana.
    """
    (trigger,) = yaml.safe_load(SCALING.read_text())["spec"]["triggers"]
    found: list[str] = [trigger["metadata"]["query"]]

    def look(part: Any) -> None:
        if isinstance(part, dict):
            found.extend(str(part[name]) for name in ("expr", "definition") if name in part)
            for each in part.values():
                look(each)
        elif isinstance(part, list):
            for each in part:
                look(each)

    look(json.loads(DASHBOARD.read_text()))
    return [each.replace("$__rate_interval", "5m").replace("$__range", "1h") for each in found]


def test_the_dashboard_asks_for_what_there_is(client: FlaskClient, tmp_path: Path) -> None:
    photo = tmp_path / "a.png"
    photo.write_bytes(encoded(picture(40, 30)))
    with photo.open("rb") as file:
        assert client.post("/api/depth", data={"image": (file, "a.png")}).status_code == 200
    metrics = client.application.extensions["twinlens"].metrics
    metrics.made_frames("small", 1)
    metrics.looked_up(1, 1)
    scrape = Scrape(client.get("/metrics").text)
    typed = set(re.findall(r"^# TYPE (\w+)", scrape.text, flags=re.MULTILINE))
    asked = {name for each in expressions() for name in re.findall(r"twinlens_\w+", each)}
    assert len(asked) > 12
    assert asked <= typed | {name for name, _ in scrape.samples}
    documented = set(
        re.findall(r"`(twinlens_\w+)", (PROJECT / "docs" / "operations.md").read_text())
    )
    assert documented == typed


def test_prometheus_understands_the_dashboard(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not here; `make debian` brings it")
    rules = [
        {"record": f"panel:{number}", "expr": each}
        for number, each in enumerate(expressions())
        if not each.startswith("label_values(")
    ]
    file = tmp_path / "rules.yml"  # JSON is valid YAML
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run(
        [promtool, "check", "rules", file], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr + done.stdout
