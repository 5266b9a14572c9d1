# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The service on its built-in models, as ``make demo`` starts it: no hub, an empty cache."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.service import Service


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("demo")
    service = Service(
        folder / "log",
        HF_HUB_CACHE=folder / "hub",
        HF_HUB_OFFLINE=1,
        HF_ENDPOINT="http://127.0.0.1:9",
        DEPTH_MODEL="builtin-depth",
        DEFAULT_MODEL="builtin-clip",
    )
    with service.started():
        service.wait_until_warm()
        yield service


@pytest.fixture(scope="session")
def conversions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of our own for what is made from the built-in checkpoints."""
    return tmp_path_factory.mktemp("conversions")
