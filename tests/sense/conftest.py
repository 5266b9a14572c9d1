# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Defines fixtures for the tests that answers make sense."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.models import row
from benchmarks.service import Service
from tests.conftest import convert_all


@pytest.fixture(scope="session")
def conversions(demo: Service) -> Path:
    """Add OpenVINO's fp32 conversions to the cache of ``demo``, and return the cache."""
    cache = Path(demo.environ["HF_HUB_CACHE"])
    convert_all((row(key) for key in ("builtin-depth", "builtin-clip")), cache, half=False)
    return cache
