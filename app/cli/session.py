# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Starts the runtime for one command, loads its model, and handles Ctrl-C."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

from tqdm import tqdm

from app.cli.problems import Failed, Interrupted
from app.errors import OperationFailed
from app.host import memory
from app.hub.weights import PUBLISHED
from app.runtime import Runtime
from config.families import Task
from config.models import ModelSpec
from config.settings import Settings, load_settings

# Photos of a command may wait in the queue for a day, because no client is waiting for an answer.
_LONGEST_WAIT_SECONDS = 86_400
_POLL_SECONDS = 0.5


def settings_for(task: Task, jobs: int) -> Settings:
    """The service's settings, changed for one process and one task. Raises SettingsError."""
    ours = {
        "ENABLED_FAMILIES": task,
        "WEB_CONCURRENCY": "1",
        "EMBED_CACHE_SIZE": "0",
        "WARMUP_ON_STARTUP": "true",  # with "false" the default model would be downloaded
        "IMAGE_EMBEDDER_MAX_QUEUE": str(jobs),
        "IMAGE_EMBEDDER_MAX_WAIT_SECONDS": str(_LONGEST_WAIT_SECONDS),
    }
    return quiet(load_settings({**os.environ, **ours}))


def quiet(settings: Settings) -> Settings:
    """Log only warnings unless LOG_LEVEL is set: a full log would disturb the progress bar."""
    if "log_level" in settings.model_fields_set:
        return settings
    return settings.model_copy(update={"log_level": "WARNING"})


class Stop:
    """Handles Ctrl-C and SIGTERM: the first asks the command to stop, the second kills it."""

    def __init__(self) -> None:
        self._requested = threading.Event()
        #: number of the signal that asked to stop; None before that
        self.signal: int | None = None

    def install(self) -> None:
        """Install the signal handlers; only the main thread may call this."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask_to_stop)

    def is_requested(self) -> bool:
        """Whether the user asked to stop."""
        return self._requested.is_set()

    def _ask_to_stop(self, number: int, _: FrameType | None) -> None:
        self.signal = number
        self._requested.set()
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_DFL)


@contextmanager
def session(settings: Settings) -> Iterator[Runtime]:
    """A started runtime, which is closed at the end of the block."""
    # Only the download process may contact the hub, as in ``create_app``.
    os.environ["HF_HUB_OFFLINE"] = "1"
    if sys.stderr.isatty():
        # The processes that download and convert get the same log level, because their log lines
        # would break the progress bar.
        os.environ["LOG_LEVEL"] = settings.log_level
    if settings.log_level == "WARNING":  # even a quiet log says why a first use takes long
        logging.getLogger("twinlens.conversion").setLevel(logging.INFO)
    memory.share_one_arena()
    runtime = Runtime(settings)
    runtime.start()
    try:
        yield runtime
    finally:
        runtime.close()


def load(runtime: Runtime, spec: ModelSpec, stop: Stop, *, images: bool = True) -> None:
    """Load the model onto its device, and download it first if it is not on disk.

    Without ``images`` it is only brought to disk: a text loads the network that it needs.

    Raises:
        Failed: the message says why.
        Interrupted: the user asked to stop.
    """
    if spec.is_downloadable and not runtime.manager.on_disk(spec):
        print(f"{spec.key} is not on disk: downloading {spec.hub_id}", file=sys.stderr)
    with ExitStack() as stack:
        watch = _LoadWatch(runtime, spec, stop, stack)
        try:
            if images:
                runtime.operations.load(spec, "auto", watch.check_cancelled)
            else:
                runtime.operations.download(spec, watch.check_cancelled)
                return
        except OperationFailed as error:
            raise Failed(f"{error.title}: {error.message}") from None
    status = runtime.manager.status(spec)
    network = status.network
    where = f" on {network.device.name}" if network.device else ""
    print(f"{spec.key}: {network.engine}, {network.precision}{where}", file=sys.stderr)
    if network.weights not in (None, PUBLISHED):
        print(f"its weights are {network.weights}, not the published ones", file=sys.stderr)


class _LoadWatch:
    """Shows the progress of the download during a load, and cancels the load on a stop."""

    def __init__(self, runtime: Runtime, spec: ModelSpec, stop: Stop, stack: ExitStack) -> None:
        self._runtime = runtime
        self._spec = spec
        self._stop = stop
        self._stack = stack
        self._bar: tqdm[None] | None = None
        self._looked_at = 0.0

    def check_cancelled(self) -> None:
        """Raise Interrupted after a stop request; the load calls this repeatedly while it waits."""
        if self._stop.is_requested():
            raise Interrupted
        if time.monotonic() - self._looked_at < _POLL_SECONDS:
            return
        self._looked_at = time.monotonic()
        status = self._runtime.manager.status(self._spec)
        if not status.total_bytes:
            return
        if self._bar is None:
            bar = tqdm(total=status.total_bytes, unit="B", unit_scale=True, disable=None)
            self._bar = self._stack.enter_context(bar)
        self._bar.update((status.downloaded_bytes or 0) - self._bar.n)
