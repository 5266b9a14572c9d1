# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""A runtime for this process alone, and its one model."""

from __future__ import annotations

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

# The files here are the user's own: they may wait for each other for as long as they need to.
_LONGEST_WAIT_SECONDS = 86_400
_LOOK_SECONDS = 0.5


def settings_for(task: Task, jobs: int) -> Settings:
    """The service's settings, for one process and one task; raises SettingsError."""
    ours = {
        "ENABLED_FAMILIES": task,
        "WEB_CONCURRENCY": "1",
        "WARMUP_ON_STARTUP": "true",  # else the default model would be downloaded
        "IMAGE_EMBEDDER_MAX_QUEUE": str(jobs),
        "IMAGE_EMBEDDER_MAX_WAIT_SECONDS": str(_LONGEST_WAIT_SECONDS),
    }
    return quiet(load_settings({**os.environ, **ours}))


def quiet(settings: Settings) -> Settings:
    """A progress bar and a log of everything do not go together."""
    if "log_level" in settings.model_fields_set:
        return settings
    return settings.model_copy(update={"log_level": "WARNING"})


class Stop:
    """The first Ctrl-C or SIGTERM asks to stop; the second ends the process at once."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        #: the signal, once there was one
        self.signal: int | None = None

    def install(self) -> None:
        """In the main thread."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask)

    def is_asked(self) -> bool:
        """Whether to stop."""
        return self._asked.is_set()

    def _ask(self, number: int, _: FrameType | None) -> None:
        self.signal = number
        self._asked.set()
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_DFL)


@contextmanager
def session(settings: Settings) -> Iterator[Runtime]:
    """A runtime that works; nothing forks, so nothing has to be warm before."""
    # As in create_app: only the download process asks the hub.
    os.environ["HF_HUB_OFFLINE"] = "1"
    if sys.stderr.isatty():
        # Lines of the processes that download and convert would break the progress bar.
        os.environ["LOG_LEVEL"] = settings.log_level
    memory.share_one_arena()
    runtime = Runtime(settings)
    runtime.start()
    try:
        yield runtime
    finally:
        runtime.close()


def load(runtime: Runtime, spec: ModelSpec, stop: Stop) -> None:
    """Bring the model to disk if need be, and to its device.

    Raises:
        Failed: the message says why.
        Interrupted: the user did not want to wait for it.
    """
    if not runtime.manager.on_disk(spec):
        print(f"{spec.key} is not on disk: downloading {spec.hub_id}", file=sys.stderr)
    with ExitStack() as stack:
        watch = _Watch(runtime, spec, stop, stack)
        try:
            runtime.operations.load(spec, "auto", watch.check_cancelled)
        except OperationFailed as error:
            raise Failed(f"{error.title}: {error.message}") from None
    status = runtime.manager.status(spec)
    network = status.network
    where = f" on {network.device.name}" if network.device else ""
    print(f"{spec.key}: {network.engine}, {network.precision}{where}", file=sys.stderr)
    if network.weights not in (None, PUBLISHED):
        print(f"its weights are {network.weights}, not the published ones", file=sys.stderr)


class _Watch:
    """Looks after a load now and then: shows its download, ends it where it is not wanted."""

    def __init__(self, runtime: Runtime, spec: ModelSpec, stop: Stop, stack: ExitStack) -> None:
        self._runtime = runtime
        self._spec = spec
        self._stop = stop
        self._stack = stack
        self._bar: tqdm[None] | None = None
        self._looked_at = 0.0

    def check_cancelled(self) -> None:
        """Called while it waits. Raises Interrupted."""
        if self._stop.is_asked():
            raise Interrupted
        if time.monotonic() - self._looked_at < _LOOK_SECONDS:
            return
        self._looked_at = time.monotonic()
        status = self._runtime.manager.status(self._spec)
        if not status.total_bytes:
            return
        if self._bar is None:
            bar = tqdm(total=status.total_bytes, unit="B", unit_scale=True, disable=None)
            self._bar = self._stack.enter_context(bar)
        self._bar.update((status.downloaded_bytes or 0) - self._bar.n)
