# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests how a container's limits are read from the files of cgroup versions 1 and 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.host import cgroups

MIB = 2**20
STAT = f"anon {300 * MIB}\ninactive_file {40 * MIB}\nactive_file {20 * MIB}\n"
NEW = {
    "memory.max": f"{1000 * MIB}\n",
    "memory.current": f"{400 * MIB}\n",
    "memory.stat": STAT,
    "cpu.max": "150000 100000\n",
}
OLD = {
    "memory/memory.limit_in_bytes": f"{1000 * MIB}\n",
    "memory/memory.usage_in_bytes": f"{400 * MIB}\n",
    "memory/memory.stat": STAT,
    "cpu/cpu.cfs_quota_us": "150000\n",
    "cpu/cpu.cfs_period_us": "100000\n",
}
NO_LIMIT = {**NEW, "memory.max": "max\n", "cpu.max": "max 100000\n"}
NO_QUOTA = {**OLD, "cpu/cpu.cfs_quota_us": "-1\n"}


def group(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize("files", [NEW, OLD])
def test_limits_of_both_versions(tmp_path: Path, files: dict[str, str]) -> None:
    root = group(tmp_path, files)
    assert cgroups.memory_left(root) == 660 * MIB
    assert cgroups.cores(root) == 1.5


def test_without_a_limit(tmp_path: Path) -> None:
    assert cgroups.memory_left(tmp_path) is None
    assert cgroups.cores(tmp_path) is None
    root = group(tmp_path, NO_LIMIT)
    assert cgroups.memory_left(root) is None
    assert cgroups.cores(root) is None


def test_without_a_quota_in_version_1(tmp_path: Path) -> None:
    assert cgroups.cores(group(tmp_path, NO_QUOTA)) is None


def test_above_the_limit_nothing_is_left(tmp_path: Path) -> None:
    files = {**NEW, "memory.current": f"{1100 * MIB}\n", "memory.stat": "inactive_file 0\n"}
    assert cgroups.memory_left(group(tmp_path, files)) == 0
