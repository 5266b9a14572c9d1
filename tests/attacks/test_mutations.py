# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Checks that hundreds of broken files, one after another, do not change the service."""

from __future__ import annotations

import io
import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from app.pictures import decode as images
from benchmarks.service import Service
from tests.attacks.mutations import mutations, originals
from tests.contract import check

# `make fuzz` sets a higher number.
COUNT = int(os.environ.get("FUZZ_MUTATIONS", "240"))


def test_mutated_files_are_refused_or_understood(start: Callable[..., Service], hub: Path) -> None:
    service = start(HF_HUB_CACHE=hub, ENABLED_FAMILIES="depth")
    (worker,) = service.workers()

    def ask(data: bytes) -> int:
        response = service.post("/api/depth", files={"image": ("photo.jpg", data)})
        if response.status_code == 200:
            picture = images.decode(io.BytesIO(data), 120_000_000)
            assert check.depth_map(response).shape == picture.size[::-1]
        else:
            assert 400 <= response.status_code < 500, response.text
            check.error(response, response.status_code)
        return response.status_code

    for data in originals() * 3:
        assert ask(data) == 200
    time.sleep(2)  # idle memory returns to the system within a second of the last request
    before = worker.memory_info().rss
    codes = Counter(ask(data) for data in mutations(COUNT))
    time.sleep(2)
    after = worker.memory_info().rss
    print(f"\n{COUNT} mutations: {dict(codes)}; rss {before >> 20} -> {after >> 20} MB")
    refused = sum(count for code, count in codes.items() if code != 200)
    assert refused >= 100
    assert codes[200] > 0
    assert [process.pid for process in service.workers()] == [worker.pid]
    assert after <= 1.1 * before
    assert ask(originals()[0]) == 200
