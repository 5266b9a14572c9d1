# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The commands ``embed`` and ``depth`` with ``--cluster``: many machines instead of this one."""

from __future__ import annotations

import argparse
import copy
import json
import sys
from itertools import takewhile
from pathlib import Path

from tqdm import tqdm

from app.cli.library import checked_sources, report
from app.cli.library_jobs import LibraryJob
from app.cli.problems import Failed, UsageError
from app.cli.session import Stop
from app.cluster import ray_data
from app.cluster.job import Job
from app.cluster.ray_data import ClusterFailed
from app.cluster.work import Work
from app.cluster.worker import Outcome
from app.library import addresses, tables
from config.models import ModelSpec
from config.settings import Settings


def check(arguments: argparse.Namespace) -> None:
    """Prepare arguments for a cluster. Raises UsageError if one makes no sense there, or only
    there.
    """
    if arguments.cluster is None:
        if arguments.actors is not None:
            raise UsageError("--actors is for --cluster")
        return
    if arguments.shard:
        raise UsageError(
            "--shard is for machines that do not know of each other: it goes without --cluster"
        )
    if arguments.command == "embed" and arguments.out.endswith((".jsonl", ".npz")):
        raise UsageError(f"--cluster is for -o NAME.parquet or a folder/, not {arguments.out}")
    if addresses.is_local(arguments.out):
        # The machines have no common current folder. A slash at the end says that it is a folder.
        slash = "/" if arguments.out.endswith("/") else ""
        arguments.out = f"{Path(arguments.out).absolute()}{slash}"


def run_on_cluster(
    arguments: argparse.Namespace,
    library: LibraryJob,
    spec: ModelSpec,
    settings: Settings,
    stop: Stop,
) -> bool:
    """Process a library on a cluster; returns whether a picture failed.

    Raises:
        UsageError, BadRequest: it was called wrongly.
        Failed: it could not go on; rows so far are kept.
    """
    sources = checked_sources(arguments, settings)
    command = copy.copy(library)  # without the sink, which stays here
    try:
        with ray_data.connected(arguments.cluster):
            library.open(spec)
            before = len(library.sink.done)
            job = Job(library.output.parts, library.sink.done)
            # What is planned when the user asks to stop is done by the next run.
            items = takewhile(lambda _: not stop.is_requested(), sources.items())
            total = job.plan(items, library.sink.schema)
            command.is_resumed = library.is_resumed
            is_done = not stop.is_requested()
            if total and is_done:
                actors = ray_data.actors(arguments.actors, arguments.jobs)
                _say(f"{spec.key}: {actors}")
                work = Work(command, spec, library.output.parts.address, library.sink.revision)
                with tqdm(total=total, unit="file", disable=None) as bar:

                    def keep(outcome: Outcome) -> None:
                        reasons: dict[str, int] = json.loads(outcome["reasons"])
                        library.done += int(outcome["done"])
                        for reason, times in reasons.items():
                            library.count(reason, times)
                        bar.update(int(outcome["done"]) + sum(reasons.values()))

                    is_done = job.run(work, actors, keep, stop.is_requested)
        library.others = job.others
        if is_done:
            job.clean_up()
            _finish(library)
    except ClusterFailed as error:
        raise Failed(str(error)) from None
    except OSError as error:
        reason = addresses.reason(error)
        raise Failed(f"{arguments.out} cannot be read or written ({reason})") from None
    report(sources, library, [], before, job.repeated)
    return bool(library.failed() or sources.failures)


def _finish(library: LibraryJob) -> None:
    """Make of the parts what the command makes of them without a cluster, too."""
    parts = library.output.parts
    if names := [name for name in parts.names() if name.endswith(".parquet")]:
        library.sink.schema = library.sink.schema or tables.plain(tables.schema_of(parts, names[0]))
    library.close(complete=True)


def _say(text: str) -> None:
    print(text, file=sys.stderr)
