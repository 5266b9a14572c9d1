# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Defines a fixture that starts the service's runtime in this process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.runtime import Runtime
from config.settings import Settings


@pytest.fixture
def runtime(settings: Settings) -> Iterator[Runtime]:
    running = Runtime(settings)
    running.start()
    yield running
    running.close()
