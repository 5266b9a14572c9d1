# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tell whoever started the service, in its log, where it is and when it is ready."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress

from app.runtime import Runtime
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


def announce_when_ready(runtime: Runtime) -> None:
    """In a worker: one line for the whole service, in the background."""

    def wait() -> None:
        while not runtime.is_closing():
            if runtime.is_ready():
                # The first worker that can make the file; the others are too late.
                with suppress(OSError), (runtime.board.folder / "announced").open("x"):
                    log.info("ready: open %s in a browser", address(runtime.settings))
                return
            time.sleep(_LOOK_SECONDS)

    threading.Thread(target=wait, name="announce", daemon=True).start()
