# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests that a cluster gives each picture one row, whatever is killed, and the same as one machine.

The driver is a process, as users start it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.service import PROJECT
from tests.cluster.conftest import Machines
from tests.process.folders import Mixed, command, mixed

#: parts that are written before something is killed
SOME = 4
long = pytest.mark.skipif("CLUSTER" not in os.environ, reason="make cluster runs it")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Mixed]:
    folder = tmp_path_factory.mktemp("library")
    return folder, mixed(folder, 300)


def parts(out: Path) -> dict[str, tuple[int, int]]:
    """Return what changes in each part if it is written again."""
    found = {path: path.stat() for path in out.glob("part-*.parquet")}
    return {path.name: (each.st_ino, each.st_mtime_ns) for path, each in found.items()}


def table(out: Path) -> pa.Table:
    files = [out] if out.is_file() else sorted(out.glob("*.parquet"))
    return pa.concat_tables([pq.read_table(file) for file in files]).sort_by("id")


@contextmanager
def running(machines: Machines, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command(*arguments),
        cwd=PROJECT,
        env=machines.environ,
        text=True,
        stderr=subprocess.PIPE,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def ended(machines: Machines, *arguments: object) -> tuple[int, str]:
    with running(machines, *arguments) as process:
        _, said = process.communicate(timeout=300)
        return process.returncode, said


def wait_for_parts(process: subprocess.Popen[str], out: Path) -> dict[str, tuple[int, int]]:
    while len(found := parts(out)) < SOME:
        assert process.poll() is None, process.stderr and process.stderr.read()
        time.sleep(0.01)
    return found


def check_rows(out: Path, made: Mixed) -> None:
    found = table(out).select(["id", "error"]).to_pydict()
    assert Counter(found["id"]) == Counter(map(str, made.good | made.bad))
    failed = {id for id, error in zip(found["id"], found["error"], strict=True) if error}
    assert failed == set(map(str, made.bad))


def test_a_machine_is_killed(
    machines: Machines, library: tuple[Path, Mixed], tmp_path: Path
) -> None:
    folder, made = library
    out = tmp_path / "vectors"
    arguments = ("embed", folder, "-o", f"{out}/", "--cluster", machines.address)
    with running(machines, *arguments) as process:
        before = wait_for_parts(process, out)
        machines.kill_one()
        _, said = process.communicate(timeout=300)
    assert process.returncode == 1, said
    assert f"{len(made.good)} done, 0 done before, {len(made.bad)} failed" in said
    assert f"{len(made.others)} files are no pictures" in said
    assert before.items() <= parts(out).items(), "no part that was there is written again"
    check_rows(out, made)

    plain = tmp_path / "plain.parquet"
    code, said = ended(machines, "embed", folder, "-o", plain)
    assert code == 1, said
    ours, theirs = table(out), table(plain)
    assert ours.schema.equals(theirs.schema, check_metadata=True)
    assert ours.drop(["embedding"]).equals(theirs.drop(["embedding"]))
    for one, other in zip(ours["embedding"], theirs["embedding"], strict=True):
        if one.is_valid:
            # Other batches may be computed by other kernels, and float16 rounds.
            assert np.dot(np.float32(one.as_py()), np.float32(other.as_py())) > 0.999
    machines.add_one()


def test_the_driver_is_killed(
    machines: Machines, library: tuple[Path, Mixed], tmp_path: Path
) -> None:
    folder, made = library
    out = tmp_path / "vectors"
    arguments = ("embed", folder, "-o", f"{out}/", "--cluster", machines.address)
    with running(machines, *arguments) as process:
        before = wait_for_parts(process, out)
        process.send_signal(signal.SIGKILL)
    code, said = ended(machines, *arguments)
    assert code == 1, said
    assert before.items() <= parts(out).items(), "no part that was there is written again"
    check_rows(out, made)
    assert not (out / ".cluster").exists()

    code, said = ended(machines, *arguments)
    assert f"0 done, {len(made.good | made.bad)} done before, 0 failed" in said


@long
def test_maps_and_a_list_of_them(
    machines: Machines, library: tuple[Path, Mixed], tmp_path: Path
) -> None:
    _, made = library
    out = tmp_path / "maps"
    chosen = [str(path) for path in sorted(made.good)[:20]]
    code, said = ended(
        machines, "depth", *chosen, *chosen[:3], "-o", out, "--cluster", machines.address
    )
    assert code == 0, said
    listed = table(out / "done").to_pydict()
    assert listed["id"] == chosen
    assert all((out / name).read_bytes().startswith(b"\x89PNG") for name in listed["map"])


@long
def test_one_file(machines: Machines, library: tuple[Path, Mixed], tmp_path: Path) -> None:
    _, made = library
    out, chosen = tmp_path / "vectors.parquet", sorted(made.good)[:20]
    code, said = ended(machines, "embed", *chosen, "-o", out, "--cluster", machines.address)
    assert code == 0, said
    assert table(out)["id"].to_pylist() == [str(path) for path in chosen]
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_without_ray(built_in: Path, tmp_path: Path) -> None:
    (tmp_path / "ray.py").write_text("raise ImportError")
    done = subprocess.run(
        command("embed", tmp_path, "-o", f"{tmp_path}/out/", "--cluster", "local"),
        cwd=PROJECT,
        env={"PATH": "", "HF_HUB_CACHE": str(built_in), "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "pip install -r config/requirements-cluster.txt" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-o", "v/", "--cluster", "ray://a:1"), "allowed: local, auto, or HOST:PORT"),
        (("-o", "v.jsonl", "--cluster", "local"), "--cluster is for -o NAME.parquet or a folder/"),
        (("-o", "v/", "--cluster", "local", "--shard", "0/2"), "without --cluster"),
        (("-o", "v/", "--actors", "2"), "--actors is for --cluster"),
    ],
)
def test_wrong_usage(built_in: Path, tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    done = subprocess.run(
        command("embed", tmp_path, *arguments),
        cwd=PROJECT,
        env={"PATH": "", "HF_HUB_CACHE": str(built_in)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
