# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Runs the project's gunicorn.conf.py, and logs network calls and new processes.

An audit hook (sys.addaudithook), which workers inherit, adds a line to the file $CALLS for each of
them.
"""

import os
import sys
from typing import Any

_WATCHED = ("socket.connect", "socket.getaddrinfo", "socket.sendto", "subprocess.Popen")


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    # An address that is a string is the path of a Unix socket, such as those that wake other
    # workers.
    if event in _WATCHED and not (event.startswith("socket.") and isinstance(arguments[1], str)):
        line = f"{event} {arguments[1:3]!r}\n"
        file = os.open(os.environ["CALLS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, line.encode())
        os.close(file)


sys.addaudithook(_note)

import runpy  # noqa: E402

globals().update(
    {
        name: value
        for name, value in runpy.run_path("gunicorn.conf.py").items()
        if not name.startswith("__")
    }
)
