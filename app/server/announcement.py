# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Logs the address of the service when it starts to listen, and again when it is ready."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from config.settings import Settings

log = logging.getLogger("twinlens.service")

_POLL_SECONDS = 0.5
_LOCAL = ("0.0.0.0", "::", "127.0.0.1", "::1", "")  # noqa: S104


def address(settings: Settings) -> str:
    """The URL of the console (the web page) for a browser on this machine."""
    host = settings.image_embedder_host
    if host in _LOCAL:
        host = "localhost"
    elif ":" in host:
        host = f"[{host}]"
    return f"http://{host}:{settings.image_embedder_port}/ui"


def announce_listening(settings: Settings) -> None:
    """Log the address. The master calls this when its sockets are open."""
    log.info("listening on %s; the models are being prepared", address(settings))


def announce_when_ready(
    settings: Settings, marker: Path, is_ready: Callable[[], bool], is_closing: Callable[[], bool]
) -> None:
    """Wait in a background thread until the service is ready, then log that once.

    Each worker calls this.

    Args:
        settings: the settings, for the address.
        marker: a file that the first ready worker creates; if it exists no other worker logs.
        is_ready: returns whether the service is ready.
        is_closing: returns whether this worker is ending, so that the thread must end, too.
    """

    def wait() -> None:
        while not is_closing():
            if is_ready():
                with suppress(OSError), marker.open("x"):
                    log.info("ready: open %s in a browser", address(settings))
                return
            time.sleep(_POLL_SECONDS)

    threading.Thread(target=wait, name="announce", daemon=True).start()
