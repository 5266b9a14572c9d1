# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tell whoever started the service, in its log, where it is and when it is ready."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from config.settings import Settings

log = logging.getLogger("twinlens.service")

_LOOK_SECONDS = 0.5
_LOCAL = ("0.0.0.0", "::", "127.0.0.1", "::1", "")  # noqa: S104


def address(settings: Settings) -> str:
    """Where a browser on this machine finds the console."""
    host = settings.image_embedder_host
    if host in _LOCAL:
        host = "localhost"
    elif ":" in host:
        host = f"[{host}]"
    return f"http://{host}:{settings.image_embedder_port}/ui"


def announce_listening(settings: Settings) -> None:
    """In the master, when its sockets are open."""
    log.info("listening on %s; the models are being prepared", address(settings))


def announce_when_ready(
    settings: Settings, marker: Path, is_ready: Callable[[], bool], is_closing: Callable[[], bool]
) -> None:
    """In a worker: one line for the whole service, in the background.

    Args:
        settings: of the service.
        marker: a file that the first worker makes; the others then say nothing.
        is_ready: whether the service is.
        is_closing: whether this worker ends.
    """

    def wait() -> None:
        while not is_closing():
            if is_ready():
                with suppress(OSError), marker.open("x"):
                    log.info("ready: open %s in a browser", address(settings))
                return
            time.sleep(_LOOK_SECONDS)

    threading.Thread(target=wait, name="announce", daemon=True).start()
