# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Fixtures of the tests that answers make sense."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.models import row
from benchmarks.service import Service
from tests.conftest import convert_all


@pytest.fixture(scope="session")
def conversions(demo: Service) -> Path:
    """The cache of ``demo``, to which OpenVINO's fp32 conversions are added."""
    cache = Path(demo.environ["HF_HUB_CACHE"])
    convert_all((row(key) for key in ("builtin-depth", "builtin-clip")), cache, half=False)
    return cache
