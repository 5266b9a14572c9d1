# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Fixtures of the tests of sense."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.service import Service


@pytest.fixture(scope="session")
def conversions(demo: Service) -> Path:
    """The cache in which ``demo`` keeps what it made from the built-in checkpoints."""
    return Path(demo.environ["HF_HUB_CACHE"])
