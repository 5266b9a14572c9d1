# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Fixtures of the tests of sense."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def conversions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of our own for what is made from the built-in checkpoints."""
    return tmp_path_factory.mktemp("conversions")
