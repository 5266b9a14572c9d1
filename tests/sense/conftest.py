# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Defines fixtures for the tests that answers make sense."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from app.engines.openvino import int8
from benchmarks.models import row
from benchmarks.service import Service
from tests.conftest import convert_all


@pytest.fixture(scope="session")
def conversions(demo: Service) -> Path:
    """Add OpenVINO's fp32 and int8 conversions to the cache of ``demo``, and return the cache.

    They are made in this process, because one for each conversion would cost 15 s of CPU.
    """
    cache = Path(demo.environ["HF_HUB_CACHE"])
    specs = [row(key) for key in ("builtin-depth", "builtin-clip")]
    convert_all(specs, cache, half=False)
    if int8.is_supported():
        convert_all(specs, cache, int8=True)
        logging.setLoggerClass(logging.Logger)  # NNCF sets its own
    return cache
