# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests clients that hang up while they wait for splats, and what remains of their photos."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.service import Service
from tests import ply
from tests.pictures import encoded
from tests.process.conftest import LONG, Faulty

PART = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
#: noise, which is hard to compress: large enough for the service to put it on disk
LARGE = encoded(Image.fromarray(np.random.default_rng(1).integers(0, 256, (640, 640, 3), np.uint8)))


def send(service: Service) -> socket.socket:
    """Send a request for splats without reading the answer."""
    body = PART + LARGE + b"\r\n--b--\r\n"
    head = (
        "POST /api/splat HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    connection = socket.create_connection(("127.0.0.1", service.embedder_port))
    connection.sendall(head.encode() + body)
    return connection


def on_disk(folder: Path, service: Service) -> list[str]:
    """All temporary files of the service, also those that have no name."""
    found = [path.name for path in folder.rglob("*")]
    for worker in service.workers():
        for descriptor in Path(f"/proc/{worker.pid}/fd").iterdir():
            with suppress(OSError):  # it may have just been closed
                found += [each for each in [str(descriptor.readlink())] if str(folder) in each]
    return found


def test_nothing_is_computed_or_kept_for_them(
    start_faulty: Callable[..., Faulty], built_in: Path, tmp_path: Path
) -> None:
    assert len(LARGE) > 2**20
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    faulty = start_faulty(
        HF_HUB_CACHE=built_in,
        TMPDIR=temporary,
        JOBS_FOLDER=tmp_path / "jobs",
        ENABLED_FAMILIES="depth",
        DEPTH_MODEL="builtin-depth",
    )
    before = len(faulty.inferences())
    faulty.plan("slow", LONG)
    clients = [send(faulty.service) for _ in range(3)]
    faulty.wait_for(lambda: len(faulty.inferences()) == before + 1)
    faulty.wait_for_queue(1, 2)
    assert len(on_disk(temporary, faulty.service)) >= 3
    for client in clients:
        client.close()
    faulty.wait_for_queue(1, 0)
    faulty.heal("slow")
    faulty.wait_for(lambda: faulty.service.text().count("status=499") == 3)
    assert len(faulty.inferences()) == before + 1, "only that which had begun"
    faulty.wait_for(lambda: on_disk(temporary, faulty.service) == [])
    answer = faulty.ask("/api/splat").result()
    assert answer.status_code == 200
    assert len(ply.read(answer.content)["x"]) > 0
    faulty.wait_for(lambda: on_disk(temporary, faulty.service) == [])
    faulty.pool.shutdown()
