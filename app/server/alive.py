# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""``python -m app.server.alive``: exit status 0 while the service on this machine is healthy.

Health checks of containers use it, because their image has no curl. It reads the port from the
settings, and does not use a proxy, even if the environment names one for downloads.
"""

from __future__ import annotations

import http.client
import sys

from config.settings import load_settings_or_exit

# This is less than the 10 s of the health check (Dockerfile), so that a message appears in time.
_TIMEOUT_SECONDS = 8.0
# Addresses to connect to if the service listens on all addresses.
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - only compared


def health_problem() -> str | None:
    """A description of what is wrong; None if /health returns 200."""
    settings = load_settings_or_exit()
    host = settings.image_embedder_host
    connection = http.client.HTTPConnection(
        _LOOPBACK.get(host, host), settings.image_embedder_port, timeout=_TIMEOUT_SECONDS
    )
    try:
        connection.request("GET", "/health")
        answer = connection.getresponse()
        body = answer.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return f"/health does not answer: {error!r}"
    finally:
        connection.close()
    return None if answer.status == 200 else body


if __name__ == "__main__":
    sys.exit(health_problem())
