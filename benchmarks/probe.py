# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Requests a page ten times per second: ``python -m benchmarks.probe SECONDS URL``.

Prints the milliseconds of each answer, from connecting to the last byte, as JSON. It runs as a
process of its own, so that the threads of other clients do not delay it.
"""

from __future__ import annotations

import json
import sys
import time
from http.client import HTTPConnection
from urllib.parse import urlsplit

_PAUSE = 0.1


def main() -> None:
    """Entry point."""
    seconds, url = float(sys.argv[1]), urlsplit(sys.argv[2])
    assert url.hostname is not None
    took = []
    begin = time.perf_counter()
    while (began := time.perf_counter()) < begin + seconds:
        connection = HTTPConnection(url.hostname, url.port, timeout=60)
        connection.request("GET", url.path)
        response = connection.getresponse()
        response.read()
        connection.close()
        assert response.status == 200, response.status
        took.append(1000 * (time.perf_counter() - began))
        time.sleep(max(0.0, began + _PAUSE - time.perf_counter()))
    print(json.dumps(took))


if __name__ == "__main__":
    main()
