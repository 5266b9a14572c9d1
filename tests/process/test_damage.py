# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests a service whose model files are damaged while it runs."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.process.conftest import Faulty, reload


@pytest.fixture(scope="module")
def running(
    start_faulty: Callable[..., Faulty], hub: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Faulty, Path]:
    cache = tmp_path_factory.mktemp("damage") / "hub"
    shutil.copytree(hub, cache, symlinks=True)
    return start_faulty(HF_HUB_CACHE=cache, ENABLED_FAMILIES="depth"), cache


def weights(cache: Path) -> Path:
    """Return the converted weights of the loaded depth model."""
    (found,) = cache.glob("models--depth-anything--Depth-Anything-V2-Small-hf/twinlens/*/model.bin")
    return found


def noise(path: Path) -> None:
    """Overwrite half of the content but keep the size and the modification time."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(before.st_size // 4)
        file.write(os.urandom(before.st_size // 2))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize(("how", "damage"), [("kill", truncate), ("reload", noise)])
def test_a_damaged_conversion_is_made_anew(
    running: tuple[Faulty, Path], damage: Callable[[Path], None], how: str
) -> None:
    faulty, cache = running
    faulty.wait_for(lambda: faulty.service.get("/health").json()["model_status"] == "loaded")
    right = faulty.ask("/api/depth").result()
    assert right.status_code == 200
    before = faulty.service.text().count("Booting worker")
    damage(weights(cache))
    if how == "kill":
        (worker,) = faulty.service.workers()
        os.kill(worker.pid, signal.SIGKILL)
        faulty.wait_for_successor(worker)
    else:
        reload(faulty)
    faulty.wait_for(lambda: faulty.service.get("/health").json()["model_status"] == "loaded")
    again = faulty.ask("/api/depth").result()
    assert (again.status_code, again.content) == (200, right.content)
    assert faulty.service.text().count("Booting worker") == before + 1, "no worker died of it"
    assert faulty.service.get("/health").status_code == 200
