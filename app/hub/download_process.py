# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The one process that downloads: ``python -m app.hub.download_process FOLDER PIPE``.

It serves the requests in the folder (see ``app.hub.downloads``) until none is left, retrying
with growing pauses, and ends early when the service that started it is gone.
"""

from __future__ import annotations

import fcntl
import logging
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from app.host import atomic
from app.host.lifeline import end_with_the_service
from app.hub import lockfile
from app.hub.downloads import DownloadRequest, DownloadState, missing
from app.hub.hub_problems import Problem, explain
from app.hub.milestones import Milestones
from config.logging import configure_logging
from config.settings import load_settings_or_exit

log = logging.getLogger("twinlens.download")

FIRST_PAUSE_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 300.0


@dataclass
class _Job:
    """One request and what happened to it so far."""

    requested_at: float
    attempt: int = 0
    due: float = 0.0
    thread: threading.Thread | None = None


def main() -> None:
    """Entry point."""
    folder, life = Path(sys.argv[1]), int(sys.argv[2])
    configure_logging(load_settings_or_exit())
    end_with_the_service(life)
    # Between "no request is left" and "the lock is free" a new request may arrive whose own
    # process found the lock taken: hence the look after the lock was given back.
    while any(folder.glob("*.request")):
        with (folder / "download.lock").open("w") as lock:
            if not _locked(lock):
                return
            _serve(folder)


def _locked(lock: TextIO) -> bool:
    """Whether this process is the one; workers that look in hold the lock for a moment, too."""
    for _ in range(20):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.05)
        else:
            return True
    return False


def _serve(folder: Path) -> None:
    jobs: dict[Path, _Job] = {}
    while requests := sorted(folder.glob("*.request")):
        for path in requests:
            try:
                requested_at = path.stat().st_mtime
            except FileNotFoundError:
                continue
            job = jobs.setdefault(path, _Job(requested_at))
            if job.requested_at != requested_at:  # asked for again: no need to wait any longer
                job.requested_at, job.due = requested_at, 0.0
            # A large model does not hold up a small one, nor a stalled one all the others.
            if time.monotonic() >= job.due and not (job.thread and job.thread.is_alive()):
                job.thread = threading.Thread(target=_attempt, args=(path, job), daemon=True)
                job.thread.start()
        time.sleep(0.2)


def _attempt(path: Path, job: _Job) -> None:
    try:
        request = DownloadRequest.model_validate_json(path.read_bytes())
    except OSError:  # taken back, or done
        return
    state_path = path.with_suffix(".state")
    job.attempt += 1
    state = DownloadState(state="downloading", attempt=job.attempt)
    atomic.write_text(state_path, state.model_dump_json())

    milestones = Milestones()

    def progress(name: str, done: int, total: int) -> None:
        if told := milestones.line(done, total):
            log.info("downloading %s: %s", request.spec.key, told)
        state.file, state.downloaded_bytes, state.total_bytes = name, done, total
        atomic.write_text(state_path, state.model_dump_json())

    log.info("downloading %s from %s", request.spec.key, request.spec.hub_id)
    known = None
    try:
        from app.hub.transfer import transfer

        known = lockfile.pinned(request.spec, request.cache)
        transfer(request.spec, request.files, request.cache, progress, known)
    except Exception as error:  # whatever it is, the service must learn of it and try again
        _failed(request, state, job, explain(error, request.spec, known), error)
        atomic.write_text(state_path, state.model_dump_json())
        return
    log.info("%s is complete", request.spec.key)
    path.unlink(missing_ok=True)
    state_path.unlink(missing_ok=True)


def _failed(
    request: DownloadRequest, state: DownloadState, job: _Job, problem: Problem, error: Exception
) -> None:
    pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** (job.attempt - 1))
    state.state = "failed"
    state.error = problem.reason
    state.failed_at = time.monotonic()
    state.retry_at = job.due = state.failed_at + pause
    # The first failure says what to do; the later ones are the same story.
    if job.attempt == 1:
        log.warning("%s", missing(request.spec, state.error, request.cache))
        log.warning("%s: %s", request.spec.key, problem.advice)
        log.debug("the first attempt failed", exc_info=error)
    else:
        log.info("%s: attempt %d failed (%s)", request.spec.key, job.attempt, state.error)


if __name__ == "__main__":
    main()
