# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Lets the service's processes request a download, watch its state and wait for it.

One separate process downloads for the whole service (``app.hub.download_process``). Workers
communicate with it through files in a shared folder: a request is a file, and so is the state of a
download.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from app.engines.base import CannotBeDownloaded, Downloading, LoadError, NotOnDisk
from app.host import atomic
from app.host.locks import locked
from app.hub.checkpoint_files import CheckpointFiles
from app.hub.figures import size_text
from app.hub.lockfile import LockFileError, pinned
from app.hub.store import Checkpoint, delete, find_checkpoint
from app.hub.verification import check_sizes, verify_content
from config.models import ModelSpec

log = logging.getLogger("twinlens.downloads")

_PROJECT = Path(__file__).resolve().parents[2]
_LOG_SECONDS = 60.0
_MB = 1e6


class DownloadRequest(BaseModel):
    """The content of ``<key>.request``: the files to download and the cache to store them in."""

    spec: ModelSpec
    files: CheckpointFiles
    cache: Path


class DownloadState(BaseModel):
    """The content of ``<key>.state``: the state of a download."""

    state: Literal["downloading", "failed"]
    file: str | None = None
    downloaded_bytes: int = 0
    total_bytes: int = 0
    attempt: int = 1
    error: str | None = None
    #: when the failed attempt ended and when the next one starts, in seconds of the monotonic
    #: clock, which all processes of a machine share and nobody can set
    failed_at: float | None = None
    retry_at: float | None = None


class DownloadFailed(Exception):
    """The download attempt failed; the message says why."""


def _missing_message(spec: ModelSpec, reason: str, cache: Path) -> str:
    """The log line that says that a model is missing, and what the operator can do."""
    if spec.path is not None:
        return f"{spec.key} is not on disk ({reason})"
    return (
        f"{spec.key} is not on disk and cannot be downloaded ({reason}): copy the checkpoint "
        f"{spec.hub_id} into {cache} ({_download_elsewhere_hint(spec)}), or run `make demo` to see "
        "the service on its built-in models"
    )


def _download_elsewhere_hint(spec: ModelSpec) -> str:
    """How to download a checkpoint on another machine, for one that cannot reach the hub."""
    command = f"python -m app download {spec.key} --output DIR"
    return f"`{command}` on another machine makes a folder to copy"


#: Environment variables for processes that download; all other processes are offline. Xet, the
#: hub's chunk store, is off because only plain HTTP can resume a download. Telemetry is off.
ONLINE = {
    "HF_HUB_OFFLINE": "0",
    "HF_HUB_DISABLE_XET": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}


class ProgressLog:
    """Decides when the progress of a download is logged.

    It is logged after each further tenth, and at least once a minute while bytes arrive.
    """

    def __init__(self) -> None:
        self._tenth = 0
        self._logged_at = time.monotonic()

    def line(self, done: int, total: int) -> str | None:
        """The text to log, such as "450 of 1710 MB (26 %)"; None if it is too early for another.

        Args:
            done: bytes downloaded so far.
            total: bytes of the whole download; 0 while unknown.
        """
        if not total or done >= total:  # the caller logs the end itself
            return None
        now, tenth = time.monotonic(), 10 * done // total
        if tenth <= self._tenth and now - self._logged_at < _LOG_SECONDS:
            return None
        self._tenth, self._logged_at = tenth, now
        return f"{done / _MB:.0f} of {total / _MB:.0f} MB ({100 * done // total} %)"


class Downloads:
    """Requests downloads and reads their state; created before the fork, used in every worker."""

    def __init__(self, cache: Path, folder: Path, offline: bool, life: tuple[int, int]) -> None:
        self._cache = cache
        self._folder = folder
        self._offline = offline
        # The reading end of a pipe whose writing end every process of the service holds open. The
        # download process sees it close, and exits, when the last of them has ended for any reason.
        self._life_read = life[0]
        #: locked while a download process runs
        self._lock_path = folder / "download.lock"

    def find_checkpoint(self, spec: ModelSpec, files: CheckpointFiles) -> Checkpoint | None:
        """The checkpoint, if its required files are on disk."""
        return find_checkpoint(spec, files, self._cache)

    def state(self, spec: ModelSpec) -> DownloadState | None:
        """The state of a model's download; None if it is complete or was never requested."""
        try:
            state = DownloadState.model_validate_json(self._path(spec, "state").read_bytes())
        except (OSError, ValueError):
            return None
        if state.state == "downloading" and not self._process_is_alive():
            state.state, state.error = "failed", "the download was interrupted"
        return state

    def size(self, spec: ModelSpec, files: CheckpointFiles) -> str | None:
        """The size of a model's download, such as "599 MB"; None if it is not known.

        It is taken from the lock file, which knows it after the first download, or from the table
        of models.
        """
        with suppress(LockFileError):
            known = pinned(spec, self._cache) if spec.is_downloadable else None
            # Adding a model records its small files only.
            if known is not None and any(map(files.are_weights, known.files)):
                files = files.chosen(known.files)
                names = (*files.required, *files.optional)
                sizes = (known.files[name].size for name in names if name in known.files)
                return size_text(sum(sizes))
        return spec.download or None

    def check(self, spec: ModelSpec, files: CheckpointFiles, checkpoint: Checkpoint) -> None:
        """Compare the sizes of the files with the lock file. Raises LoadError."""
        check_sizes(spec, files, checkpoint, self._cache)

    def verify(self, spec: ModelSpec, files: CheckpointFiles, checkpoint: Checkpoint) -> None:
        """Compare every byte with the recorded checksums, which is slow. Raises LoadError."""
        verify_content(spec, files, checkpoint, self._cache)

    def not_on_disk_error(self, spec: ModelSpec) -> LoadError:
        """The error for a client that asks for a model which is still being downloaded."""
        state = self.state(spec)
        if state is not None and state.state == "failed":
            is_final = self._offline or not spec.is_downloadable
            kind = CannotBeDownloaded if is_final else NotOnDisk
            return kind(f"its weights are not on disk and cannot be downloaded: {state.error}")
        so_far = ""
        if state is not None and state.total_bytes:
            so_far = f", {100 * state.downloaded_bytes // state.total_bytes} % so far"
        return Downloading(f"its weights are not on disk yet; downloading them{so_far}")

    def request(self, spec: ModelSpec, files: CheckpointFiles, at_once: bool = False) -> None:
        """Request a download; this is cheap if it was requested before.

        Args:
            spec: the model.
            files: the names of its files.
            at_once: after a failed attempt, start the next one now instead of when it is due.
        """
        if not spec.is_downloadable or self._offline:
            reason = "HF_HUB_OFFLINE is set"
            if spec.is_built_in:
                reason = "its files are missing from this installation"
            elif not spec.is_downloadable:
                reason = f"its path in the table of models lacks: {files.in_words()}"
            if self.state(spec) is None:
                log.warning("%s", _missing_message(spec, reason, self._cache))
            if spec.is_downloadable:
                reason += f"; {_download_elsewhere_hint(spec)}"
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
        self.ensure_running()

    def ensure_running(self) -> None:
        """Start a download process if there are requests and none runs. Call it regularly.

        The last process may have been exiting when a request was written, or may have been killed.
        """
        if not self._offline and any(self._folder.glob("*.request")):
            self._start_process()

    def wait(
        self,
        spec: ModelSpec,
        files: CheckpointFiles,
        check_cancelled: Callable[[], None] = lambda: None,
    ) -> Checkpoint:
        """Request a download and wait until it is complete.

        Args:
            spec: the model.
            files: the names of its files.
            check_cancelled: called repeatedly; may raise to end the wait, but not the download.

        Raises:
            DownloadFailed: the first attempt failed; the download process goes on trying.
        """
        asked_at = time.monotonic()
        self.request(spec, files, at_once=True)
        while True:
            checkpoint = self.find_checkpoint(spec, files)
            if checkpoint is not None:
                return checkpoint
            state = self.state(spec)
            if state is not None and (state.failed_at or 0) >= asked_at:
                raise DownloadFailed(state.error)
            if (
                not self._path(spec, "request").exists()
                and self.find_checkpoint(spec, files) is None
            ):
                raise DownloadFailed("it was deleted meanwhile")
            self.ensure_running()
            check_cancelled()
            time.sleep(0.1)

    def is_running(self, spec: ModelSpec) -> bool:
        """Whether a model is being downloaded now, not in the pause after a failed attempt."""
        state = self.state(spec)
        return state is not None and state.state == "downloading"

    def cancel(self, spec: ModelSpec) -> bool:
        """Withdraw the request for a download; does nothing and returns False if it is running."""
        if self.is_running(spec):
            return False
        for suffix in ("request", "state"):
            self._path(spec, suffix).unlink(missing_ok=True)
        return True

    def delete(self, spec: ModelSpec) -> None:
        """Delete a model's folder in the cache, if there is one. Raises OSError."""
        delete(spec, self._cache)

    def _path(self, spec: ModelSpec, suffix: str) -> Path:
        return self._folder / f"{spec.key}.{suffix}"

    def _process_is_alive(self) -> bool:
        """Whether a download process runs or was just started, by this worker or another."""
        lock = locked(self._lock_path)
        if lock is not None:
            lock.close()
        return lock is None

    def _start_process(self) -> None:
        """Start a download process, unless another one is running."""
        lock = locked(self._lock_path)
        if lock is None:
            return
        with lock:  # the process inherits it, so that all workers know at once that it runs
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "app.hub.download_process",
                    str(self._folder),
                    str(self._life_read),
                    str(lock.fileno()),
                ],
                cwd=_PROJECT,
                stdin=subprocess.DEVNULL,
                pass_fds=(self._life_read, lock.fileno()),
                start_new_session=True,
                env={**os.environ, **ONLINE},
            )
        threading.Thread(target=process.wait, name="reap-download", daemon=True).start()
