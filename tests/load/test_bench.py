# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Runs short forms of ``make bench`` and ``make bench-gpu`` on tiny checkpoints."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.service import PROJECT

# Accuracy is left out: tests of each family hold it.
SECTIONS = ("latency", "throughput", "health", "cost", "resources", "films")
PARTS = ("networks", "stages")  # make bench, in its short form, already measures a service


@pytest.fixture(scope="module")
def cache(hub: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the hub cache, because the benchmark may write to it."""
    target = tmp_path_factory.mktemp("bench") / "hub"
    shutil.copytree(hub, target, symlinks=True)
    return target


@pytest.mark.timeout(1200)
def test_a_short_benchmark_gives_every_figure(cache: Path, tmp_path: Path) -> None:
    """To save time, it measures one model only."""
    command = [sys.executable, "-m", "benchmarks.bench", "--quick", "--tiny", "--cache", str(cache)]
    done = subprocess.run(
        [*command, "--out", str(tmp_path), "--models", "small", "--only", ",".join(SECTIONS)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    tables = json.loads((tmp_path / "bench.json").read_text())["tables"]
    text = (tmp_path / "bench.md").read_text()
    assert done.stdout.strip() == text.strip()
    assert "small" in text
    assert (tmp_path / "bench.png").stat().st_size > 1000
    assert set(tables) == {*SECTIONS, "stages"}


@pytest.mark.timeout(1200)
def test_a_short_gpu_benchmark_runs_without_a_gpu(cache: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.gpu", "--quick", "--tiny", "--cache", str(cache)]
    wanted = ["--device", "cpu", "--out", str(tmp_path), "--models", "ViT-B-16"]
    done = subprocess.run(
        [*command, *wanted, "--only", ",".join(PARTS)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    tables = json.loads((tmp_path / "gpu.json").read_text())["tables"]
    assert set(tables) == {"ceilings", "vectors", "stages", "copies"}, "no failures"
    assert done.stdout.strip() == (tmp_path / "gpu.md").read_text().strip()
    for row in tables["stages"]:
        assert isinstance(row["ms"], float), row
        assert row.get("largest", 0) <= 2, row
