# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Measures what limits a cluster: actors, the driver's memory, and what Ray costs.

  python -m benchmarks.scale actors             1, 2, 4 and 8 actors with a simulated device
  python -m benchmarks.scale plan --rows 10000000     the driver's memory while it plans
  python -m benchmarks.scale list --rows 10000000     the plain command's, while it reads a manifest
  python -m benchmarks.scale pairs FOLDER --model KEY --repeats 5     one actor beside the plain
                                                command: the median ratio of so many pairs

docs/scale.md has figures.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from app.cli.library import Left
from app.cli.library_jobs import MapsJob, Plan
from app.cli.session import Stop
from app.cluster.job import Job
from app.cluster.plans import Unit
from app.cluster.ray_data import Actors, connected, outcomes
from app.cluster.worker import columns
from app.library.ids import Ids
from app.library.items import Item
from app.library.parts import Sink
from app.library.shards import Shard
from app.library.sources import Sources
from app.library.store import Store
from app.rendering.options import DepthOptions
from benchmarks.service import PROJECT

ACTORS = (1, 2, 4, 8)
UNITS_PER_ACTOR = 30
UNIT_SECONDS = 0.5
_SHOWN_ROWS = 1_000_000
_GROUP_ROWS = 100_000


class Simulated:
    """Does units on a device that takes a fixed time and no core. All wait for the last to start,
    so that starts are not measured.
    """

    def __init__(self, folder: str, count: int, seconds: float) -> None:
        self._device = threading.Lock()
        self._seconds = seconds
        with tempfile.NamedTemporaryFile(dir=folder, delete=False):
            while len(list(Path(folder).iterdir())) < count:
                time.sleep(0.05)

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        done = []
        for _ in batch["plan"]:
            began = time.time()
            with self._device:
                time.sleep(self._seconds)
            done.append({"began": began, "ended": time.time()})
        return columns(done)


def actors() -> None:
    """Print units a second, and their part of linear."""
    alone = 0.0
    with connected("local", cores=2 * max(ACTORS)):
        for count in ACTORS:
            units = [Unit("", 0, number) for number in range(UNITS_PER_ACTOR * count)]
            with tempfile.TemporaryDirectory() as folder:
                # The second and third argument of the class are these two of Actors.
                pool = _Simulation(count, count, 0, UNIT_SECONDS)  # type: ignore[arg-type]
                found = list(outcomes(units, folder, pool, Simulated))
            began = min(each["began"] for each in found)
            rate = len(found) / (max(each["ended"] for each in found) - began)
            alone = alone or rate
            print(f"{count} actors: {rate:6.2f} units/s, {rate / count / alone:.3f} of linear")


class _Simulation(Actors):
    def resources(self) -> dict[str, float]:
        return {"num_cpus": 1}


class _Memory:
    """Prints the resident memory of this process each so many rows."""

    def __init__(self) -> None:
        self._process, self._began = psutil.Process(), time.monotonic()

    def watched(self, items: Iterable[Item]) -> Iterator[Item]:
        number = 0
        for number, item in enumerate(items, 1):
            yield item
            if number % _SHOWN_ROWS == 0:
                self._show(number)
        self._show(number)

    def _show(self, number: int) -> None:
        megabytes = self._process.memory_info().rss / 2**20
        seconds = time.monotonic() - self._began
        print(f"{number:>11,} rows {seconds:7.0f} s {megabytes:7.0f} MB", flush=True)


def _addresses(first: int, end: int) -> list[str]:
    return [f"s3://photos/2026/{n // 1000:06}/IMG_{n:09}.jpg" for n in range(first, end)]


def _manifest(folder: str, rows: int) -> str:
    """A manifest of so many objects, which do not exist."""
    path = f"{folder}/library.parquet"
    with pq.ParquetWriter(path, pa.schema([("id", pa.string()), ("path", pa.string())])) as file:
        for first in range(0, rows, _GROUP_ROWS):
            names = _addresses(first, min(first + _GROUP_ROWS, rows))
            file.write_table(pa.table({"id": names, "path": names}))
    return path


def plan(rows: int) -> None:
    """Print the driver's memory while it plans a manifest."""
    with tempfile.TemporaryDirectory(prefix="twinlens-scale-") as folder:
        items = Sources([_manifest(folder, rows)]).items()
        planned = Job(Store(f"{folder}/parts"), Ids()).plan(_Memory().watched(items), None)
        files = Path(folder, "parts").rglob("*.parquet")
        size = sum(path.stat().st_size for path in files)
        print(f"{planned:,} pictures planned, {size / 2**20:.0f} MB on disk")


def listing(rows: int) -> None:
    """Print the plain command's memory while it finds what is left to do of a manifest."""
    with tempfile.TemporaryDirectory(prefix="twinlens-scale-") as folder:
        job = MapsJob(Plan(f"{folder}/maps", Shard(), retry_errors=False), DepthOptions())
        job.sink = Sink(job.output, {})
        left = Left(Sources([_manifest(folder, rows)]), job, Stop())
        for _ in _Memory().watched(left.items()):
            pass


def pairs(folder: Path, model: str, repeats: int) -> None:
    """Print pictures a second of both commands. The difference between a run of all pictures and
    one of a third of them leaves out the start.
    """
    every = sorted(path for path in folder.rglob("*") if path.is_file())
    few = every[: len(every) // 3]
    ratios = []
    both: list[tuple[str, tuple[str, ...]]]
    both = [("plain", ()), ("cluster", ("--cluster", "local", "--actors", "1"))]
    for number in range(repeats):
        rates = {}
        for name, options in both[:: 1 if number % 2 else -1]:  # each is first as often
            seconds = [_seconds(paths, model, options) for paths in (few, every)]
            rates[name] = (len(every) - len(few)) / (seconds[1] - seconds[0])
        ratios.append(rates["cluster"] / rates["plain"])
        print(", ".join(f"{name} {rate:.1f}/s" for name, rate in rates.items()), end="")
        print(f", ratio {ratios[-1]:.2f}", flush=True)
    print(
        f"{repeats} pairs: median ratio {median(ratios):.2f}, "
        f"from {min(ratios):.2f} to {max(ratios):.2f}"
    )


def _seconds(paths: list[Path], model: str, options: tuple[str, ...]) -> float:
    out = Path(tempfile.mkdtemp(prefix="twinlens-scale-"))
    manifest = out / "manifest.csv"
    manifest.write_text("id,path\n" + "".join(f"{path},{path}\n" for path in paths))
    command = [sys.executable, "-m", "app", "embed", manifest, "-o", f"{out}/vectors/"]
    began = time.monotonic()
    try:
        subprocess.run(
            [*map(str, command), "--model", model, *options],
            cwd=PROJECT,
            check=True,
            stderr=subprocess.DEVNULL,
        )
        return time.monotonic() - began
    finally:
        shutil.rmtree(out)


def main() -> None:
    """Run one of the measurements."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kinds = parser.add_subparsers(dest="kind", required=True)
    kinds.add_parser("actors")
    for name in ("plan", "list"):
        kinds.add_parser(name).add_argument("--rows", type=int, default=10_000_000)
    paired = kinds.add_parser("pairs")
    paired.add_argument("folder", type=Path)
    paired.add_argument("--model", required=True)
    paired.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.kind == "actors":
        actors()
    elif arguments.kind == "plan":
        plan(arguments.rows)
    elif arguments.kind == "list":
        listing(arguments.rows)
    else:
        pairs(arguments.folder, arguments.model, arguments.repeats)


if __name__ == "__main__":
    main()
