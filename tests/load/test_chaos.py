# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Kills and stops workers under load, while bombs and slow readers arrive.

``make chaos`` runs it for longer, for CHAOS_SECONDS.
"""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from benchmarks.service import Service
from tests.load.clients import Crowd, questions
from tests.load.trouble import Trouble

SECONDS = float(os.environ.get("CHAOS_SECONDS", "6"))
CLIENTS = 16
#: right answers that there must be in spite of all trouble
ANSWERS = 5 * SECONDS


@pytest.mark.timeout(4 * SECONDS + 600)
def test_every_request_is_answered_right_or_with_a_documented_error(
    hub: Path, tmp_path: Path
) -> None:
    service = Service(
        tmp_path / "log",
        HF_HUB_CACHE=hub,
        HF_HUB_OFFLINE=1,
        WEB_CONCURRENCY=2,
        IMAGE_EMBEDDER_MAX_QUEUE=12,
        LOG_LEVEL="WARNING",
    )
    dice = random.Random(7)
    kills = stops = 0
    with service.started():
        service.wait_until_ready()
        asked = questions(service, 24)
        with Crowd(service, asked, CLIENTS) as crowd, Trouble(service) as trouble:
            end = time.monotonic() + SECONDS
            reload_at = time.monotonic() + SECONDS / 2
            # On a busy machine it goes on until there are enough answers.
            latest = end + 3 * SECONDS + 120
            while time.monotonic() < end or (
                crowd.counts["200"] <= ANSWERS and time.monotonic() < latest
            ):
                time.sleep(dice.uniform(1.5, 4))
                if time.monotonic() > reload_at:
                    reload_at = float("inf")
                    os.kill(service.pid, signal.SIGHUP)
                elif (workers := service.workers()) and dice.random() < 0.3:
                    trouble.stop_for_a_while(dice.choice(workers))
                    stops += 1
                elif workers:
                    with suppress(psutil.NoSuchProcess):  # the reload may have just ended it
                        dice.choice(workers).kill()
                        kills += 1
        # Afterwards everything is as before: two workers, no queued requests, and right answers.
        deadline = time.monotonic() + 180
        while len(service.workers()) != 2 or busy(service):
            assert time.monotonic() < deadline, service.text()
            time.sleep(0.2)
        fresh = questions(service, 24)
        assert all(abs(a.answer - b.answer).max() <= 1 for a, b in zip(asked, fresh, strict=True))
        assert not service.zombies()
        assert service.stop() == 0
    counts = ", ".join(f"{what}: {count}" for what, count in sorted(crowd.counts.items()))
    print(
        f"\n{SECONDS:.0f} s, {CLIENTS} clients, {kills} kills, {stops} stops, "
        f"{trouble.bombs} bombs, one reload: {counts}"
    )
    assert crowd.wrong == []
    assert crowd.counts["200"] > ANSWERS
    # A killed worker loses at most the requests that it was serving.
    assert crowd.counts["connection ended"] <= kills * CLIENTS


def busy(service: Service) -> bool:
    queue = service.get("/health").json()["queue"]
    return bool(queue["in_flight"] or queue["waiting"])
