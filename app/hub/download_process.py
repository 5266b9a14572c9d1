# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The process that downloads models: ``python -m app.hub.download_process FOLDER PIPE LOCK``.

It handles the requests in FOLDER (see ``app.hub.downloads``) until none is left, and retries failed
downloads after growing pauses. It exits early if all processes of the service have ended; it
notices that because PIPE is then closed.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from app.host import atomic
from app.host.lifeline import end_with_the_service
from app.hub import lockfile
from app.hub.downloads import DownloadRequest, DownloadState, ProgressLog
from app.hub.hub_problems import Problem, explain
from config.logging import configure_logging
from config.settings import load_settings_or_exit

log = logging.getLogger("twinlens.download")

FIRST_PAUSE_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 300.0


@dataclass
class _Job:
    """A request and its attempts so far."""

    requested_at: float
    attempt: int = 0
    due: float = 0.0
    thread: threading.Thread | None = None


def main() -> None:
    """Download what the requests in the folder ask for, until none is left."""
    folder, life = Path(sys.argv[1]), int(sys.argv[2])
    configure_logging(load_settings_or_exit())
    end_with_the_service(life)
    # The worker has locked this file for this process; closing it allows the next process.
    with os.fdopen(int(sys.argv[3]), "w"):
        _serve(folder)


def _serve(folder: Path) -> None:
    jobs: dict[Path, _Job] = {}
    while requests := sorted(folder.glob("*.request")):
        for path in requests:
            try:
                requested_at = path.stat().st_mtime
            except FileNotFoundError:
                continue
            job = jobs.setdefault(path, _Job(requested_at))
            if job.requested_at != requested_at:  # requested again: retry now
                job.requested_at, job.due = requested_at, 0.0
            # Each download has its own thread, so that a slow one does not delay the others.
            if time.monotonic() >= job.due and not (job.thread and job.thread.is_alive()):
                job.thread = threading.Thread(target=_attempt, args=(path, job), daemon=True)
                job.thread.start()
        time.sleep(0.2)


def _attempt(path: Path, job: _Job) -> None:
    try:
        request = DownloadRequest.model_validate_json(path.read_bytes())
    except OSError:  # the request was withdrawn or completed meanwhile
        return
    state_path = path.with_suffix(".state")
    job.attempt += 1
    state = DownloadState(state="downloading", attempt=job.attempt)
    atomic.write_text(state_path, state.model_dump_json())

    progress_log = ProgressLog()

    def progress(name: str, done: int, total: int) -> None:
        if told := progress_log.line(done, total):
            log.info("downloading %s: %s", request.spec.key, told)
        state.file, state.downloaded_bytes, state.total_bytes = name, done, total
        atomic.write_text(state_path, state.model_dump_json())

    log.info("downloading %s from %s", request.spec.key, request.spec.hub_id)
    known = None
    try:
        from app.hub.transfer import transfer

        known = lockfile.pinned(request.spec, request.cache)
        transfer(request.spec, request.files, request.cache, progress, known)
    except Exception as error:  # any failure is reported to the service and retried
        _failed(request, state, job, explain(error, request.spec, known), error)
        atomic.write_text(state_path, state.model_dump_json())
        return
    log.info("%s is complete", request.spec.key)
    # In this order: if this process ends in between, the request is found to be done already. A
    # state that is left would say "downloading" for ever.
    state_path.unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _failed(
    request: DownloadRequest, state: DownloadState, job: _Job, problem: Problem, error: Exception
) -> None:
    pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** (job.attempt - 1))
    state.state = "failed"
    state.error = problem.reason
    state.failed_at = time.monotonic()
    state.retry_at = job.due = state.failed_at + pause
    # Only the first failure is logged with advice, because later ones usually repeat it.
    if job.attempt == 1:
        log.warning(
            "%s cannot be downloaded (%s): %s. It is tried again; `make demo` needs no download",
            request.spec.key,
            state.error,
            problem.advice,
        )
        log.debug("the first attempt failed", exc_info=error)
    else:
        log.info("%s: attempt %d failed (%s)", request.spec.key, job.attempt, state.error)


if __name__ == "__main__":
    main()
