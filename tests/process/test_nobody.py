# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests the service under a user id without a name or HOME, as in ``docker run --user 12345``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.service import PROJECT, Service
from tests.contract import check
from tests.services import PHOTO

# The user id changes only within a namespace; outside, it remains that of the user who may read
# these files.
NOBODY = ["unshare", "--user", "--map-user=12345", "--map-group=12345"]
HOMELESS = {"HOME", "XDG_CACHE_HOME", "HF_HOME", "HF_HUB_CACHE"}


@pytest.fixture(autouse=True)
def _allowed() -> None:
    if subprocess.run([*NOBODY, "true"], capture_output=True).returncode:
        pytest.skip("namespaces of users are not allowed here")


@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_with_a_cache_named_it_converts_and_answers(engine: str, tmp_path: Path) -> None:
    service = Service(
        tmp_path / "log",
        HF_HUB_CACHE=tmp_path / "hub",
        HF_HUB_OFFLINE=1,
        DEPTH_MODEL="builtin-depth",
        ENABLED_FAMILIES="depth",
        ENGINE=engine,
    )
    (tmp_path / "hub").mkdir()
    for name in HOMELESS - {"HF_HUB_CACHE"}:
        service.environ.pop(name, None)
    with service.started(prefix=NOBODY):
        service.wait_until_ready()
        check.depth_map(service.post("/api/depth", files={"image": ("a.png", PHOTO)}))
        assert "Traceback" not in service.text()
    assert not (PROJECT / "~").exists()


def test_without_one_it_says_what_to_set() -> None:
    environ = {name: value for name, value in os.environ.items() if name not in HOMELESS}
    for command in ("gunicorn", "app.server", "config.settings", "app.server.alive"):
        done = subprocess.run(
            [*NOBODY, sys.executable, "-m", command],
            cwd=PROJECT,
            env=environ,
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert done.returncode == 78, done.stderr
        assert "HF_HUB_CACHE is not set" in done.stderr
        assert "Traceback" not in done.stderr
