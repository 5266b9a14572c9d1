# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Waits for something to be true, so that tests need not wait for a fixed time."""

from __future__ import annotations

import time
from collections.abc import Callable

from benchmarks.service import Service


def wait_for(
    what: Callable[[], object], seconds: float = 240, service: Service | None = None
) -> None:
    """Return once ``what`` is true; fail if the service ends, or after ``seconds``."""
    end = time.monotonic() + seconds
    while not what():
        if service is not None:
            assert service.process.poll() is None, service.text()
        assert time.monotonic() < end, service.text()[-5000:] if service else "it never came true"
        time.sleep(0.05)
