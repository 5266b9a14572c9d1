# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Checks that the service's ports can be opened, before any model is loaded."""

from __future__ import annotations

import errno
import logging
import os
import socket
import sys
import time
from collections.abc import Iterable

from config.settings import Settings

log = logging.getLogger("twinlens.ports")

# A port in use may become free, because an earlier run of the service may be about to end.
PATIENCE_SECONDS = 5.0
_PAUSE_SECONDS = 0.2
_SETTINGS = ("ai_service_port", "image_embedder_port")


def require_free(
    addresses: Iterable[object], settings: Settings, patience: float = PATIENCE_SECONDS
) -> None:
    """Wait until the ports are free. If one cannot be opened, explain why on stderr and exit.

    Args:
        addresses: addresses of gunicorn: (host, port), or the path of a unix socket. Only ports
            that are in the settings are checked.
        settings: the settings in force.
        patience: seconds to wait for a port that is in use.

    Raises:
        SystemExit: status 78 (EX_CONFIG), a port cannot be opened.
    """
    wanted = [address for address in addresses if isinstance(address, tuple)]
    end = time.monotonic() + patience
    warned = False
    while problems := [found for each in wanted if (found := _problem(each[0], each[1], settings))]:
        if time.monotonic() >= end or not all(temporary for _, temporary in problems):
            text = "\n".join(message for message, _ in problems)
            print(f"Twinlens cannot start:\n{text}", file=sys.stderr)
            raise SystemExit(os.EX_CONFIG)
        if not warned:
            log.warning("waiting up to %.0f s for a port that is in use", patience)
            warned = True
        time.sleep(_PAUSE_SECONDS)


def _problem(host: str, port: int, settings: Settings) -> tuple[str, bool] | None:
    """Why an address cannot be opened, and whether this may be temporary; None if it can."""
    names = [name.upper() for name in _SETTINGS if getattr(settings, name) == port]
    if not names:
        return None  # an address from gunicorn's command line: not checked
    try:
        kind = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(kind, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as gunicorn does
            probe.bind((host, port))
    except OSError as error:
        return _explain(" and ".join(names), host, port, error), error.errno == errno.EADDRINUSE
    return None


def _explain(names: str, host: str, port: int, error: OSError) -> str:
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return f"IMAGE_EMBEDDER_HOST={host}: this machine has no such address; 0.0.0.0 means all"
    if error.errno == errno.EADDRINUSE:
        return (
            f"{names}={port}: another program listens on this port. Stop that one (`ss -ltnp` "
            f"shows it), or set {names} to a free port"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return (
            f"{names}={port}: this user may not open the port ({error.strerror}); ports from 1024 "
            "need no rights"
        )
    return f"{names}={port}: the port cannot be opened ({error.strerror})"
