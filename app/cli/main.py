# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Runs a command: parses its arguments, processes the photos and returns the exit status."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from app.adding.problems import AddingError
from app.cli import outputs
from app.cli.arguments import depth_options, parse
from app.cli.cluster import check, run_on_cluster
from app.cli.download import download
from app.cli.files import find_files, only_pictures, report_others
from app.cli.jobs import DepthJob, EmbedJob, Job, SceneJob
from app.cli.library import is_library, library_job, run_library
from app.cli.models.command import manage_models
from app.cli.problems import Failed, Interrupted, UsageError
from app.cli.run import Outcome, run
from app.cli.session import Stop, load, session, settings_for
from app.cli.video import make_films
from app.errors import BadRequest
from app.lending.registry import Registry
from app.library.folders import Failure
from app.rendering.scene_options import SceneOptions
from config.families import Task
from config.logging import configure_logging
from config.models import ModelSpec
from config.settings import Settings, SettingsError

USAGE, FAILED, DONE = 2, 1, 0
_SIGNALLED = 128
_GO_ON = "interrupted; run the same command again to go on"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status, which ``--help`` explains."""
    arguments = parse(argv)
    stop = Stop()
    stop.install()
    try:
        if arguments.command == "download":
            return FAILED if download(arguments, stop) else DONE
        if arguments.command == "video":
            return _status(make_films(arguments, stop), stop)
        if arguments.command == "search":
            from app.cli.search import search  # imports pyarrow, which no other command needs

            search(arguments, stop)
            return DONE
        if arguments.command == "models":
            return DONE if manage_models(arguments, stop) else FAILED
        is_on_cluster = arguments.cluster is not None
        check(arguments)
        library = library_job(arguments) if is_on_cluster or is_library(arguments) else None
        job = library or _job(arguments)
        settings = settings_for(job.task, arguments.jobs)
        configure_logging(settings)
        spec = _spec(arguments, settings, job.task)
        if library is not None:
            run_all = run_on_cluster if is_on_cluster else run_library
            failures = run_all(arguments, library, spec, settings, stop)
            return _status(failures, stop)
        assert isinstance(job, Job)
        return _command(job, spec, settings, arguments, stop)
    except SettingsError as error:
        _say(f"Twinlens cannot start:\n{error}")
        return os.EX_CONFIG
    except (UsageError, BadRequest) as error:
        _say(f"python -m app {arguments.command}: {error}")
        return USAGE
    except (Failed, AddingError) as error:
        _say(str(error))
        return FAILED
    except OSError as error:
        if error.filename is None:
            raise
        # A path that may not be entered, or is too long, wherever the command met it first.
        _say(f"python -m app {arguments.command}: {error.filename}: {error.strerror}")
        return FAILED
    except Interrupted:
        assert stop.signal is not None
        said = {"download": _GO_ON, "models": "interrupted", "search": "interrupted"}
        _say(said.get(arguments.command, "interrupted before the first file"))
        return _SIGNALLED + stop.signal


def _command(
    job: Job, spec: ModelSpec, settings: Settings, arguments: argparse.Namespace, stop: Stop
) -> int:
    found = find_files([Path(each) for each in arguments.photos], job.own, arguments.everything)
    failures = found.failures
    try:
        job.open(spec)
    except OSError as error:
        raise UsageError(f"-o {arguments.out}: cannot be written ({error.strerror})") from None
    # Conflicting outputs are reported before any file is opened.
    job.check([photo for photo in found.photos if photo.is_named_like_picture()])
    photos = only_pictures(found.photos, job.is_done, stop)
    others = len(found.photos) - len(photos)
    left = job.left(photos)
    outcome = Outcome(failures=failures)
    if left:
        with session(settings) as runtime, logging_redirect_tqdm():
            load(runtime, spec, stop)
            before = len(photos) - len(left)
            with tqdm(total=len(photos), initial=before, unit="file", disable=None) as bar:
                outcome = run(job, left, runtime, spec, stop, bar, arguments.jobs)
            outcome.failures[:0] = failures
    complete = not stop.is_requested() and outcome.problem is None
    try:
        job.close(complete)
    except OSError as error:
        raise Failed(f"{arguments.out} cannot be written ({error.strerror})") from None
    outputs.list_failures(outcome.failures, job.errors)
    _report(outcome.failures, outcome.done, len(photos), len(left), job)
    report_others(others, found.left_out, "picture")
    if outcome.problem is not None:
        raise outcome.problem
    return _status(outcome.failures, stop)


def _status(failures: object, stop: Stop) -> int:
    """The exit status of a command that can be gone on with."""
    if stop.signal is not None:
        _say(_GO_ON)
        return _SIGNALLED + stop.signal
    return FAILED if failures else DONE


def _report(failures: Sequence[Failure], done: int, of: int, left: int, job: Job) -> None:
    for failure in failures:
        _say(str(failure))
    files = "1 file" if of == 1 else f"{of} files"
    text = f"{files}: {done} done, {of - left} done before, {len(failures)} failed"
    _say(f"{text} (listed in {job.errors})" if failures else text)


def _job(arguments: argparse.Namespace) -> Job:
    """The job that the arguments describe. Raises UsageError, BadRequest."""
    if arguments.command == "depth":
        options = depth_options(arguments)
        if isinstance(options, SceneOptions):
            return SceneJob(Path(arguments.out), options)
        return DepthJob(Path(arguments.out), options)
    return EmbedJob(Path(arguments.out), arguments.image_size, arguments.normalize)


def _spec(arguments: argparse.Namespace, settings: Settings, task: Task) -> ModelSpec:
    """The model to use. Raises BadRequest if it is unknown."""
    registry = Registry(settings)
    if arguments.model is None:
        return registry.default(task)
    return registry.get(arguments.model, task)


def _say(text: str) -> None:
    print(text, file=sys.stderr)
