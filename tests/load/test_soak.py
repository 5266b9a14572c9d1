# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests that memory does not grow.

``make soak`` runs it for longer, with SOAK_REQUESTS requests.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks.service import Service
from tests.load.clients import Crowd, questions

REQUESTS = int(os.environ.get("SOAK_REQUESTS", "120"))
PARTS = 6
# The first part has at least this many requests, so that each worker has answered every question
# a few times.
FILLING = 200
CLIENTS = 8


@pytest.mark.timeout(REQUESTS / 10 + 600)
def test_memory_does_not_grow(hub: Path, tmp_path: Path) -> None:
    """Pictures have mixed sizes; the first quarter fills caches and does not count."""
    service = Service(
        tmp_path / "log",
        HF_HUB_CACHE=hub,
        HF_HUB_OFFLINE=1,
        WEB_CONCURRENCY=2,
        LOG_LEVEL="WARNING",
        MEMORY_CLEANUP_INTERVAL_SECONDS=20,
    )
    sizes: list[float] = []
    done = 0
    with service.started():
        service.wait_until_ready()
        asked = questions(service, 30)
        for part in range(PARTS):
            wanted = REQUESTS / PARTS if part else max(FILLING, REQUESTS / PARTS)
            with Crowd(service, asked, CLIENTS) as crowd:
                while sum(crowd.counts.values()) < wanted:
                    time.sleep(0.05)
            assert crowd.wrong == []
            assert set(crowd.counts) == {"200"}
            done += crowd.counts["200"]
            time.sleep(2)  # an idle service returns free memory to the system
            sizes.append(sum(worker.memory_info().rss for worker in service.workers()) / 2**20)
    settled = sizes[PARTS // 4 :]
    per_part = REQUESTS / PARTS
    slope = float(np.polyfit(np.arange(len(settled)) * per_part, settled, 1)[0]) * 1000
    growth = settled[-1] / settled[0] - 1
    print(
        f"\n{done} requests; both workers {sizes[0]:.0f} MB at first, {settled[0]:.0f} MB after a "
        f"quarter, {settled[-1]:.0f} MB at the end ({growth:+.1%}); "
        f"slope {slope:+.1f} MB per 1000 requests"
    )
    assert growth < 0.05
