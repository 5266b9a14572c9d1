# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The run through all files: several at a time, until all are done or it has to stop."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

from tqdm import tqdm

from app.cli.files import Failure, Photo
from app.cli.jobs import Job
from app.cli.problems import Failed
from app.cli.session import Stop
from app.errors import TwinlensError
from app.runtime import Runtime
from config.models import ModelSpec

log = logging.getLogger("twinlens.cli")

_LOOK_SECONDS = 0.2


@dataclass
class Outcome:
    """What became of the files."""

    done: int = 0
    failures: list[Failure] = field(default_factory=list)
    #: why it stopped before its end
    problem: Failed | None = None

    def count(self) -> int:
        """Files that are through."""
        return self.done + len(self.failures)


def run(
    job: Job,
    photos: Sequence[Photo],
    runtime: Runtime,
    spec: ModelSpec,
    stop: Stop,
    bar: tqdm[None],
    jobs: int,
) -> Outcome:
    """Work on all photos; a wish to stop is obeyed when those that are being computed are done."""
    outcome = Outcome()
    before, stopped = bar.n, False
    queue = iter(photos)
    running: dict[Future[Any], Photo] = {}
    with ThreadPoolExecutor(jobs) as pool:
        while True:
            if runtime.is_closing() and not stopped and outcome.problem is None:
                # By itself, also with a SIGTERM of its own: the device is lost, or hangs.
                outcome.problem = Failed(runtime.refusal().message)
            elif stop.is_asked() or outcome.problem:
                stopped = True
                runtime.stop("It was interrupted")
            while len(running) < jobs and not runtime.is_closing():
                photo = next(queue, None)
                if photo is None:
                    break
                running[pool.submit(job.work, photo, runtime, spec)] = photo
            if not running:
                return outcome
            finished, _ = wait(running, _LOOK_SECONDS, FIRST_COMPLETED)
            for future in finished:
                _take(future, running.pop(future), job, runtime, outcome)
            bar.set_postfix(failed=len(outcome.failures), refresh=False)
            bar.update(before + outcome.count() - bar.n)


def _take(future: Future[Any], photo: Photo, job: Job, runtime: Runtime, outcome: Outcome) -> None:
    """One that has come to its end, whichever."""
    try:
        job.keep(photo, future.result())
        outcome.done += 1
    except Failed as problem:
        outcome.problem = problem
    except OSError as error:
        outcome.problem = Failed(f"the result cannot be written ({error.strerror})")
    except TwinlensError as error:
        if not runtime.is_closing():  # else it is not the file's fault
            outcome.failures.append(Failure(photo.path, error.message))
    except Exception as error:
        log.error("%s failed", photo.path, exc_info=error)
        outcome.failures.append(Failure(photo.path, "It could not be processed; see the log"))
