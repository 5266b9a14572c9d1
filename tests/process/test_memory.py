# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests memory limits, the unloading of idle models, and models that do not fit."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.contract import check
from tests.process.conftest import Faulty


def loaded(faulty: Faulty) -> list[str]:
    models = faulty.service.get("/api/models?type=all").json()["models"]
    return [model["key"] for model in models if model["is_loaded"] and model["type"] != "splat"]


def test_above_the_limit_health_says_so(start_faulty: Callable[..., Faulty]) -> None:
    tight = start_faulty(MAX_PROCESS_MEMORY_MB=100, ENABLED_FAMILIES="depth", ready=True)
    health = tight.service.wait_for("/health", 503).json()
    assert health["status"] == "unhealthy"
    assert "MAX_PROCESS_MEMORY_MB" in health["reason"]
    assert "100 MB" in health["reason"]
    assert health["queue"]["concurrency"] == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_idle_models_are_unloaded_and_come_back(
    start_faulty: Callable[..., Faulty], workers: int
) -> None:
    idle = start_faulty(MODEL_IDLE_SECONDS=2, WEB_CONCURRENCY=workers)
    idle.service.post("/api/models/base/load")
    idle.wait_for(lambda: not loaded(idle))
    health = idle.service.get("/health").json()
    assert health["model_status"] == "not_loaded"
    assert health["status"] in ("ok", "healthy")
    # The chosen model and readiness are kept, and the next request loads the model again.
    assert idle.service.get("/ready").status_code == 200
    answer = idle.ask("/api/depth").result()
    assert (answer.status_code, answer.headers["X-Model-Used"]) == (200, "base")
    assert loaded(idle) == ["base"]


def test_a_model_in_use_is_not_idle(start_faulty: Callable[..., Faulty]) -> None:
    idle = start_faulty(MODEL_IDLE_SECONDS=1, ENABLED_FAMILIES="depth")
    idle.plan("slow", 60)
    slow = idle.ask("/api/depth")
    idle.wait_for_queue(1, 0)
    end = time.monotonic() + 3
    while time.monotonic() < end:
        assert loaded(idle) == ["small"]
        time.sleep(0.1)
    idle.heal("slow")
    assert slow.result().status_code == 200


def test_what_does_not_fit(faulty: Faulty) -> None:
    """A model is refused: 100 MB are free, but it needs 256 MB in addition to its own size."""
    everything = ["small", "ViT-L-14"]
    faulty.wait_for(lambda: loaded(faulty) == everything)
    faulty.plan("free", 100 * 2**20)
    refused = faulty.ask("/api/depth?model=large").result()
    check.error(refused, 503, "Model not initialized")
    message = refused.json()["message"]
    assert message.startswith("Depth estimation model is not available")
    assert "100 MB are free" in message
    assert "needs 25" in message
    assert loaded(faulty) == [], "idle ones had to go, in vain"
    refused = faulty.service.post("/api/models/base/load")
    assert refused.status_code == 500
    assert "100 MB are free" in refused.json()["message"]
    faulty.heal("free")
    faulty.service.post("/api/models/base/unload")
    faulty.service.post("/api/models/large/unload")
    assert faulty.ask("/api/depth").result().status_code == 200
    assert faulty.ask("/embed-image").result().status_code == 200
    assert loaded(faulty) == everything
