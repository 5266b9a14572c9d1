# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Runs the service without any network.

``unshare --net python -m tests.process.offline CACHE FOLDER`` prints as JSON what the service
answered, and all its sockets and outgoing calls.
"""

from __future__ import annotations

import fcntl
import json
import socket
import struct
import sys
import time
from pathlib import Path

import psutil

from benchmarks.service import PROJECT, Service
from tests.pictures import encoded, picture

_SIOCSIFFLAGS = 0x8914
_IFF_UP_RUNNING = 0x41


def main() -> None:
    cache, folder = Path(sys.argv[1]), Path(sys.argv[2])
    with socket.socket() as control:  # brings up loopback, which is down in a new namespace
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh", b"lo", _IFF_UP_RUNNING))
    service = Service(
        folder / "log",
        config=PROJECT / "tests" / "process" / "calls.conf.py",
        HF_HUB_CACHE=cache,
        WEB_CONCURRENCY=2,
        CALLS=folder / "calls",
    )
    files = {"image": ("a.png", encoded(picture(100, 80)))}
    with service.started():
        service.wait_until_ready()
        answers = [
            service.post(path, files=files).status_code for path in ("/api/depth", "/embed-image")
        ]
        answers.append(service.post("/embed-text", json={"text": "a cat"}).status_code)
        time.sleep(2)  # telemetry would be sent a moment later
        processes = [psutil.Process(service.pid), *psutil.Process(service.pid).children(True)]
        decoding = sum("app.decoding.template" in process.cmdline() for process in processes)
        sockets = {
            (connection.status, connection.laddr.port)
            for process in processes
            for connection in process.net_connections("inet")
        }
        ours = {service.depth_port, service.embedder_port}
        found = {
            "answers": answers,
            "processes": len(processes) - decoding,
            "decoding": decoding,
            "sockets": sorted([status, port in ours] for status, port in sockets),
            "torch": [process.pid for process in processes if "libtorch" in _mapped(process.pid)],
            "calls": (folder / "calls").read_text() if (folder / "calls").exists() else "",
        }
    print(json.dumps(found))


def _mapped(pid: int) -> str:
    return Path(f"/proc/{pid}/maps").read_text()


if __name__ == "__main__":
    main()
