# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests workers that die again and again.

Meanwhile the others answer and report the reason, and the service recovers by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
import requests

from benchmarks.service import Service
from tests.contract import check
from tests.process.conftest import SMALL, Faulty
from tests.waiting import wait_for


@pytest.fixture
def crashing(start_faulty: Callable[..., Faulty]) -> Faulty:
    return start_faulty(WEB_CONCURRENCY=2, ENABLED_FAMILIES="embedding")


def embed(service: Service, model: str) -> requests.Response | None:
    """Return the answer, or None if the worker died before it answered."""
    with suppress(requests.ConnectionError):
        return service.post("/embed-image", files={"image": SMALL}, data={"model": model})
    return None


def is_healthy(service: Service) -> bool:
    return service.get("/health").status_code == 200


def test_a_model_whose_load_ends_workers(crashing: Faulty) -> None:
    service = crashing.service
    crashing.plan("crash", "ViT-B-16")
    answers = []

    def refused() -> bool:
        answers.append(embed(service, "ViT-B-16"))
        return answers[-1] is not None

    wait_for(refused, service=service)
    refusal = answers[-1]
    assert refusal is not None
    message = check.error(refusal, 503, "Model not available")
    assert "workers in a row died while they loaded ViT-B-16" in message
    assert "the next try is in" in message
    health = service.get("/health")
    assert health.status_code == 503
    assert "died while they loaded ViT-B-16" in health.text
    wait_for(lambda: len(service.workers()) == 2, service=service)
    usual = embed(service, "ViT-L-14")
    assert usual is not None
    assert usual.status_code == 200, "other models are answered"
    crashing.heal("crash")
    wait_for(lambda: _succeeds(service, "ViT-B-16"), 120, service)
    wait_for(lambda: is_healthy(service), service=service)


def test_workers_that_die_at_their_start(crashing: Faulty) -> None:
    service = crashing.service
    crashing.plan("crash-start")
    service.workers()[0].kill()
    wait_for(lambda: "the next worker starts in 2 s" in service.text(), service=service)
    health = service.get("/health")
    assert health.status_code == 503, "the worker that is left answers"
    assert "workers in a row ended before they were up" in health.text
    assert _succeeds(service, "ViT-L-14")
    # Three workers start together, then pauses of 1, 2 and 4 seconds follow, so no core is kept
    # busy.
    assert service.text().count("Booting worker") < 2 + 8
    crashing.heal("crash-start")
    wait_for(lambda: is_healthy(service) and len(service.workers()) == 2, 120, service)


def _succeeds(service: Service, model: str) -> bool:
    answer = embed(service, model)
    return answer is not None and answer.status_code == 200
