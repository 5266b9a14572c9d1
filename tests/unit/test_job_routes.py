# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests the limit on results of jobs in this process; the jobs are stand-ins."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from werkzeug.test import Client

from app.blueprints import jobs
from app.blueprints.application import create_app
from app.errors import NotFound
from app.jobs.state import JobState
from app.runtime import Runtime
from config.settings import Settings


class Unknown:
    """Jobs of which none is known; notes which are asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def state(self, id: str) -> JobState:
        self.asked.append(id)
        raise NotFound("There is no such job", code="unknown_job")


@pytest.fixture(scope="module")
def app(hub: Path) -> Iterator[Flask]:
    """Yield the app for pytest-flask's ``client``."""
    runtime = Runtime(Settings(hf_hub_cache=hub, hf_hub_offline=True))
    try:
        yield create_app(runtime.settings, runtime)
    finally:
        runtime.close()


@pytest.fixture
def unknown(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Unknown:
    unknown = Unknown()
    monkeypatch.setattr(app.extensions["twinlens"], "jobs", unknown)
    monkeypatch.setattr(jobs, "_results", threading.BoundedSemaphore(1))
    return unknown


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_one_result_too_many_is_refused_before_it_is_waited_for(
    client: Client, unknown: Unknown, method: str
) -> None:
    with jobs._results:
        answer = client.open("/api/jobs/abc/result", method=method)
    assert answer.status_code == 429
    assert "Retry-After" in answer.headers
    assert unknown.asked == []


def test_a_result_that_there_is_not_takes_no_place(client: Client, unknown: Unknown) -> None:
    for number in range(3):
        assert client.get("/api/jobs/abc/result").status_code == 404
        assert len(unknown.asked) == number + 1
