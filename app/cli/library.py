# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Runs ``embed`` and ``depth`` on a library: any number of pictures, from any source."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from itertools import chain

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from app.cli.arguments import depth_options
from app.cli.files import report_others
from app.cli.library_jobs import (
    LibraryJob,
    MapsJob,
    Plan,
    VectorOptions,
    VectorsJob,
    has_list,
)
from app.cli.problems import UsageError
from app.cli.run import Outcome, run
from app.cli.session import Stop, load, session
from app.library import addresses
from app.library.folders import Failure, one_line
from app.library.ids import Ids
from app.library.items import Item
from app.library.shards import Shard
from app.library.sources import Sources, is_photo_or_folder
from app.remote.fetch import Fetcher
from config.models import ModelSpec
from config.settings import Settings

_LINES = (".jsonl", ".npz")
_MOST_REASONS = 10


def is_library(arguments: argparse.Namespace) -> bool:
    """Whether a command works on a library, rather than on files and folders as it always did.

    Raises:
        UsageError: an option or a source does not suit the output.
    """
    others = [each for each in arguments.photos if not is_photo_or_folder(each)]
    only_here = ("shard", "retry_errors", "format", "float32")
    if arguments.command == "depth":
        return bool(
            others
            or arguments.shard
            or not addresses.is_local(arguments.out)
            or has_list(arguments.out)
        )
    if not arguments.out.endswith(_LINES):
        return True
    for name in only_here:
        if getattr(arguments, name):
            option = f"--{name.replace('_', '-')}"
            raise UsageError(f"{option} is for -o NAME.parquet or a folder/, not {arguments.out}")
    if not addresses.is_local(arguments.out):
        raise UsageError(
            f"-o {arguments.out}: .jsonl and .npz are written to this machine only; "
            "take NAME.parquet or a folder/"
        )
    if others:
        raise UsageError(
            f"{others[0]} is no file or folder of this machine: its vectors go into "
            f"-o NAME.parquet or a folder/, not {arguments.out}"
        )
    return False


def library_job(arguments: argparse.Namespace) -> LibraryJob:
    """The job that the arguments describe. Raises UsageError, BadRequest."""
    shard = Shard.parse(arguments.shard) if arguments.shard else Shard()
    plan = Plan(arguments.out, shard, arguments.retry_errors)
    if arguments.command == "depth":
        return MapsJob(plan, depth_options(arguments))
    options = VectorOptions(
        arguments.image_size,
        arguments.normalize,
        "float32" if arguments.float32 else "float16",
        arguments.format == "clip-retrieval",
    )
    return VectorsJob(plan, options)


class Left:
    """The items of a library that are still to be done, as they are found."""

    def __init__(self, sources: Sources, job: LibraryJob, stop: Stop) -> None:
        self._sources = sources
        self._job = job
        self._stop = stop
        self._given = Ids()
        self.before = 0
        self.repeated = 0

    def items(self) -> Iterator[Item]:
        """All items of this shard that have no row yet, each once."""
        shard, done = self._job.plan.shard, self._job.sink.done
        for item in self._sources.items():
            if self._stop.is_requested():
                return
            if not shard.holds(item.id):
                continue
            if not self._given.add(item.id):
                self.repeated += 1
            elif item.id in done:
                self.before += 1
            else:
                yield item


def checked_sources(arguments: argparse.Namespace, settings: Settings) -> Sources:
    """The sources that the arguments name. Raises BadRequest for what is wrong at first sight."""
    out = arguments.out
    sources = Sources(
        arguments.photos,
        Fetcher.from_settings(settings) if settings.allow_remote_image_urls else None,
        [out, f"{out.rstrip('/')}.parts"],
        arguments.everything,
    )
    sources.check()
    return sources


def run_library(
    arguments: argparse.Namespace, job: LibraryJob, spec: ModelSpec, settings: Settings, stop: Stop
) -> bool:
    """Process a library; returns whether a picture failed.

    Raises:
        UsageError, BadRequest: it was called wrongly.
        Failed: it could not go on; rows so far are kept.
    """
    sources = checked_sources(arguments, settings)
    job.open(spec)
    left = Left(sources, job, stop)
    items = left.items()
    outcome = Outcome()
    first = next((item for item in items if _may_be_picture(item, job)), None)
    if first is not None:
        with session(settings) as runtime, logging_redirect_tqdm():
            load(runtime, spec, stop)
            job.begin(runtime, spec)
            with tqdm(unit="file", disable=None) as bar:
                every = chain([first], items)
                outcome = run(job, every, runtime, spec, stop, bar, arguments.jobs)
    complete = not stop.is_requested() and outcome.problem is None
    job.close(complete)
    report(sources, job, outcome.failures, left.before, left.repeated)
    if outcome.problem is not None:
        raise outcome.problem
    return bool(job.failed() or sources.failures or outcome.failures)


def _may_be_picture(item: Item, job: LibraryJob) -> bool:
    """Looked at before the model is loaded, which would be for nothing if no picture is left."""
    if item.may_be_picture():
        return True
    job.others += 1
    return False


def report(
    sources: Sources, job: LibraryJob, failures: Sequence[Failure], before: int, repeated: int = 0
) -> None:
    """Say what became of a run.

    Args:
        sources: what was read.
        job: what was done.
        failures: of other things than pictures.
        before: pictures that earlier runs have done.
        repeated: pictures whose ids came before in the same run.
    """
    for failure in (*sources.failures, *failures):
        _say(str(failure))
    count = job.done + before + job.failed()
    _say(f"{count} pictures: {job.done} done, {before} done before, {job.failed()} failed")
    reasons = job.reasons.most_common(_MOST_REASONS)
    for reason, times in reasons:
        _say(one_line(f"{times:>8} x {reason}"))
    if rest := job.failed() - sum(times for _, times in reasons):
        _say(f"{rest:>8} x other reasons")
    if job.failed():
        _say("the column error says why for each; --retry-errors tries them again")
    if job.sink.failed_before:
        _say(
            f"{job.sink.failed_before} pictures failed in earlier runs; "
            "--retry-errors tries them again"
        )
    if repeated:
        _say(f"{repeated} ids came more than once; only the first picture of each counts")
    report_others(job.others, sources.left_out, "picture")


def _say(text: str) -> None:
    print(text, file=sys.stderr)
