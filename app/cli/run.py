# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Processes all photos, several at a time, until all are done or the command has to stop."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from tqdm import tqdm

from app.cli.problems import Failed
from app.cli.session import Stop
from app.errors import TwinlensError
from app.library.folders import Failure
from app.runtime import Runtime
from config.models import ModelSpec

log = logging.getLogger("twinlens.cli")

_POLL_SECONDS = 0.2


class Named(Protocol):
    """A photo to process."""

    @property
    def path(self) -> Path | str:
        """Where it is, for messages."""


Photo = TypeVar("Photo", bound=Named)
Taken = TypeVar("Taken", contravariant=True)


class Work(Protocol[Taken]):
    """What is done with each photo; see ``app.cli.jobs.Job``."""

    def work(self, photo: Taken, runtime: Runtime, spec: ModelSpec) -> Any:
        """Compute the result for a photo; called in several threads."""

    def keep(self, photo: Taken, result: Any) -> None:
        """Store what ``work`` returned; called in the main thread."""

    def poll(self) -> None:
        """Called about as often as results come, and a few times a second if none do.

        Raises:
            Failed: the results cannot be written.
        """

    def failed(self) -> int:
        """How many photos failed whose failure is itself a result."""


@dataclass
class Outcome:
    """The results of a run."""

    done: int = 0
    failures: list[Failure] = field(default_factory=list)
    #: why the run ended early, if it did
    problem: Failed | None = None

    def count(self) -> int:
        """The number of files that are done or have failed."""
        return self.done + len(self.failures)


def run(
    job: Work[Photo],
    photos: Iterable[Photo],
    runtime: Runtime,
    spec: ModelSpec,
    stop: Stop,
    bar: tqdm[None],
    jobs: int,
) -> Outcome:
    """Process all photos; after a stop request, finish only the photos that are on the device."""
    outcome = Outcome()
    before, stopped = bar.n, False
    queue = iter(photos)
    running: dict[Future[Any], Photo] = {}
    with ThreadPoolExecutor(jobs) as pool:
        while True:
            if runtime.is_closing() and not stopped and outcome.problem is None:
                # The runtime closes by itself (it may even send itself a SIGTERM) if its device is
                # lost or hangs.
                outcome.problem = Failed(runtime.refusal().message)
            elif stop.is_requested() or outcome.problem:
                stopped = True
                runtime.stop("It was interrupted")
            while len(running) < jobs and not runtime.is_closing():
                try:
                    photo = next(queue, None)
                except TwinlensError as error:  # the rest of the list cannot be read
                    outcome.problem = Failed(error.message)
                    break
                if photo is None:
                    break
                running[pool.submit(job.work, photo, runtime, spec)] = photo
            if not running:
                return outcome
            finished, _ = wait(running, _POLL_SECONDS, FIRST_COMPLETED)
            for future in finished:
                _collect_result(future, running.pop(future), job, runtime, outcome)
            try:
                job.poll()
            except Failed as problem:
                outcome.problem = problem
            bar.set_postfix(failed=job.failed() + len(outcome.failures), refresh=False)
            bar.update(before + outcome.count() - bar.n)


def _collect_result(
    future: Future[Any], photo: Photo, job: Work[Photo], runtime: Runtime, outcome: Outcome
) -> None:
    """Count a photo whose future is done, and store its result."""
    try:
        job.keep(photo, future.result())
        outcome.done += 1
    except Failed as problem:
        outcome.problem = problem
    except OSError as error:
        outcome.problem = Failed(f"the result cannot be written ({error.strerror})")
    except TwinlensError as error:
        if not runtime.is_closing():  # photos that a closing runtime refuses did not fail
            outcome.failures.append(Failure(photo.path, error.message))
    except Exception as error:
        log.error("%s failed", photo.path, exc_info=error)
        outcome.failures.append(Failure(photo.path, "It could not be processed; see the log"))
