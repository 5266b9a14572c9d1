# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""A stand-in for the process of a film that has taken it over."""

from __future__ import annotations

import sys
from pathlib import Path

INFO = {
    "container": "mp4",
    "codec": "h264",
    "size": [64, 64],
    "frame_rate": [25, 1],
    "seconds": None,
    "frames": None,
    "rotation": 0,
    "is_hdr": False,
    "sound": None,
}
#: the first message of a process
OPEN = {"info": INFO, "total": None}


def liar(folder: Path, *messages: object, output: str = "") -> list[str]:
    """A command that sends these messages and then writes this output, as ``handle.COMMAND``."""
    path = folder / "liar.py"
    path.write_text(
        "import json, os, socket, sys, time\n"
        "wire = socket.socket(fileno=int(sys.argv[1]))\n"
        f"for message in {messages!r}:\n"
        "    wire.sendall(json.dumps(message).encode() + b'\\n')\n"
        f"os.write(int(sys.argv[2]), {output.encode()!r})\n"
        "time.sleep(1000)\n"
    )
    return [sys.executable, str(path)]
