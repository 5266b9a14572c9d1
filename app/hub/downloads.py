# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Downloads as the service's processes see them: ask for one, watch it, wait for it.

The work is done by one separate process for the whole service (``app.hub.download_process``).
Workers and that process meet in a folder: a request is a file, and so is the state of a download.
"""

from __future__ import annotations

import fcntl
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from app.engines.base import LoadError
from app.host import atomic
from app.hub.store import Checkpoint, delete, find
from app.hub.verification import check_sizes, verify_content
from config.models import ModelSpec

log = logging.getLogger("twinlens.downloads")

_PROJECT = Path(__file__).resolve().parents[2]


class DownloadRequest(BaseModel):
    """``<key>.request``: what to bring where."""

    spec: ModelSpec
    files: tuple[str, ...]
    cache: Path


class DownloadState(BaseModel):
    """``<key>.state``: how it goes."""

    state: Literal["downloading", "failed"]
    file: str | None = None
    downloaded_bytes: int = 0
    total_bytes: int = 0
    attempt: int = 1
    error: str | None = None
    #: monotonic seconds of the machine, since the clock may be set: when the failed attempt ended,
    #: and when the next one starts
    failed_at: float | None = None
    retry_at: float | None = None


class DownloadFailed(Exception):
    """The attempt that was waited for failed; the message says why."""


def missing(spec: ModelSpec, reason: str, cache: Path) -> str:
    """The line of the log that says what is missing and the two ways out."""
    if spec.path is not None:
        return f"{spec.key} is not on disk ({reason})"
    return (
        f"{spec.key} is not on disk and cannot be downloaded ({reason}): copy the checkpoint "
        f"{spec.hub_id} into {cache} ({elsewhere(spec)}), or run `make demo` to see the service "
        "on its built-in models"
    )


def elsewhere(spec: ModelSpec) -> str:
    """How to get a checkpoint to a machine that reaches no hub."""
    command = f"python -m app download {spec.key} --output DIR"
    return f"`{command}` on another machine makes a folder to copy"


#: For processes that ask the hub: the service's own are offline by their environment. Plain HTTP,
#: unlike the hub's chunk store, can go on where it stopped. And nobody is told about the machine
#: beyond what a download needs.
ONLINE = {
    "HF_HUB_OFFLINE": "0",
    "HF_HUB_DISABLE_XET": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}


class Downloads:
    """Made once before the fork; used in every worker."""

    def __init__(self, cache: Path, folder: Path, offline: bool, life: tuple[int, int]) -> None:
        self._cache = cache
        self._folder = folder
        self._offline = offline
        # The download process reads from this pipe and ends when the last process of the service,
        # each of which holds the other end, is gone, however it went.
        self._life_read = life[0]
        self._process: subprocess.Popen[bytes] | None = None

    def find(self, spec: ModelSpec, files: tuple[str, ...]) -> Checkpoint | None:
        """The checkpoint, if it is on disk."""
        return find(spec, files, self._cache)

    def state(self, spec: ModelSpec) -> DownloadState | None:
        """How the download of a model goes; None when none was asked for or it is complete."""
        try:
            state = DownloadState.model_validate_json(self._path(spec, "state").read_bytes())
        except (OSError, ValueError):
            return None
        if state.state == "downloading" and not self._process_is_alive():
            state.state, state.error = "failed", "the download was interrupted"
        return state

    def check(self, spec: ModelSpec, checkpoint: Checkpoint) -> None:
        """Whether it is what was recorded, as far as sizes tell. Raises LoadError."""
        check_sizes(spec, checkpoint, self._cache)

    def verify(self, spec: ModelSpec, files: tuple[str, ...], checkpoint: Checkpoint) -> None:
        """Whether it is what was recorded, byte for byte; takes its time. Raises LoadError."""
        verify_content(spec, files, checkpoint, self._cache)

    def absent(self, spec: ModelSpec) -> LoadError:
        """What to tell who asked for a model that is not on disk, after ``request``."""
        state = self.state(spec)
        if state is not None and state.state == "failed":
            return LoadError(f"its weights are not on disk and cannot be downloaded: {state.error}")
        return LoadError("its weights are not on disk yet; downloading them")

    def request(self, spec: ModelSpec, files: tuple[str, ...], at_once: bool = False) -> None:
        """Ask for a download. Cheap when that was done before.

        Args:
            spec: the model.
            files: what belongs to it.
            at_once: start the next attempt now, where the last one failed and a later one is due.
        """
        if not spec.is_downloadable or self._offline:
            reason = "HF_HUB_OFFLINE is set"
            if spec.is_built_in:
                reason = "its files are missing from this installation"
            elif not spec.is_downloadable:
                reason = "its path in the table of models lacks: " + ", ".join(files)
            if self.state(spec) is None:
                log.warning("%s", missing(spec, reason, self._cache))
            if spec.is_downloadable:
                reason += f"; {elsewhere(spec)}"
            state = DownloadState(state="failed", error=reason, failed_at=time.monotonic())
            atomic.write_text(self._path(spec, "state"), state.model_dump_json())
            return
        if at_once or not self._path(spec, "request").exists():
            if self.state(spec) is None:
                atomic.write_text(
                    self._path(spec, "state"), DownloadState(state="downloading").model_dump_json()
                )
            request = DownloadRequest(spec=spec, files=files, cache=self._cache)
            atomic.write_text(self._path(spec, "request"), request.model_dump_json())
        if not self._process_is_alive():
            self._start_process()

    def wait(
        self,
        spec: ModelSpec,
        files: tuple[str, ...],
        check_cancelled: Callable[[], None] = lambda: None,
    ) -> Checkpoint:
        """Ask for a download and wait until it is there.

        Args:
            spec: the model.
            files: what belongs to it.
            look: called now and then; it may raise to end the wait, not the download.

        Raises:
            DownloadFailed: the first attempt since then failed (further ones go on by themselves).
        """
        asked_at = time.monotonic()
        self.request(spec, files, at_once=True)
        while True:
            checkpoint = self.find(spec, files)
            if checkpoint is not None:
                return checkpoint
            state = self.state(spec)
            if state is not None and (state.failed_at or 0) >= asked_at:
                raise DownloadFailed(state.error)
            if not self._path(spec, "request").exists() and self.find(spec, files) is None:
                raise DownloadFailed("it was deleted meanwhile")
            # It may have been about to end when we asked, or be killed at any time.
            if not self._offline and not self._process_is_alive():
                self._start_process()
            check_cancelled()
            time.sleep(0.1)

    def cancel(self, spec: ModelSpec) -> bool:
        """Forget a download that is not running at this moment; False if it is running."""
        state = self.state(spec)
        if state is not None and state.state == "downloading":
            return False
        for suffix in ("request", "state"):
            self._path(spec, suffix).unlink(missing_ok=True)
        return True

    def delete(self, spec: ModelSpec) -> None:
        """Delete a model's folder in the cache; what is not there is no error. Raises OSError."""
        delete(spec, self._cache)

    def _path(self, spec: ModelSpec, suffix: str) -> Path:
        return self._folder / f"{spec.key}.{suffix}"

    def _process_is_alive(self) -> bool:
        """Whether some worker's process is at work, or this one's is about to be."""
        if self._process is not None and self._process.poll() is None:
            return True
        with (self._folder / "download.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def _start_process(self) -> None:
        """Start a process; it ends at once if another one is at work."""
        self._process = process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "app.hub.download_process",
                str(self._folder),
                str(self._life_read),
            ],
            cwd=_PROJECT,
            stdin=subprocess.DEVNULL,
            pass_fds=(self._life_read,),
            start_new_session=True,
            env={**os.environ, **ONLINE},
        )
        threading.Thread(target=process.wait, name="reap-download", daemon=True).start()
