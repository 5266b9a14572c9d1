# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""``python -m app.server.alive``: exit status 0 while the service on this machine is healthy.

For health checks of containers, whose image has no curl. It knows the port from the settings,
wherever they stand, and passes by any proxy that the environment names for downloads.
"""

from __future__ import annotations

import http.client
import sys

from config.settings import load_settings_or_exit

# Health checks give up after 10 s (Dockerfile); the message should come before that.
_PATIENCE_SECONDS = 8.0
# A service that listens on all addresses listens on these.
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - only compared


def trouble() -> str | None:
    """What is wrong, for a person to read; None: /health answers 200."""
    settings = load_settings_or_exit()
    host = settings.image_embedder_host
    connection = http.client.HTTPConnection(
        _LOOPBACK.get(host, host), settings.image_embedder_port, timeout=_PATIENCE_SECONDS
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
    sys.exit(trouble())
