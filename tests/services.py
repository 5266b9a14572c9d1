# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Defines fixtures of the contract tests: services with other settings, nginx, and base URLs."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from benchmarks.service import PROJECT, Service, free_port
from tests.pictures import encoded, picture
from tests.waiting import wait_for

PHOTO = encoded(picture(320, 240))


@contextmanager
def nginx_before(service: Service, folder: Path, *replicas: Service) -> Iterator[str]:
    """Run nginx in front of a service, with the shipped configuration but other ports and files.

    With ``replicas``, each upstream has a line for each of them, too.
    """
    port = free_port()
    every = (service, *replicas)
    depth = " ".join(f"server 127.0.0.1:{each.depth_port};" for each in every)
    embedder = " ".join(f"server 127.0.0.1:{each.embedder_port};" for each in every)
    changes = (
        ("server 127.0.0.1:5000;", depth),
        ("server 127.0.0.1:8000;", embedder),
        ("listen 8080", f"listen 127.0.0.1:{port}"),
        ("/tmp/twinlens-nginx.pid", str(folder / "pid")),
    )
    files = [PROJECT / "config" / name for name in ("nginx.conf", "nginx-upstreams.conf")]
    text = {file.name: file.read_text() for file in files}
    for shipped, here in changes:
        assert any(shipped in content for content in text.values())
        text = {name: content.replace(shipped, here) for name, content in text.items()}
    for name, content in text.items():
        (folder / name).write_text(content)
    command = ["nginx", "-c", str(folder / "nginx.conf"), "-g", "daemon off;"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        url = f"http://127.0.0.1:{port}"
        try:
            wait_for(lambda: process.poll() is not None or _listens(port))
            assert process.poll() is None, "nginx ended"
            yield url
        finally:
            process.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="session")
def nginx(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the URL of nginx in front of the service."""
    with nginx_before(service, tmp_path_factory.mktemp("nginx")) as url:
        yield url


@pytest.fixture(params=["port of ImmichVR", "port of Classifarr", "nginx"])
def base(request: pytest.FixtureRequest, service: Service) -> str:
    """Return the base URL of the service on each of its ports and behind nginx.

    The contracts hold on all three.
    """
    if request.param == "nginx":
        return str(request.getfixturevalue("nginx"))
    port = service.depth_port if "ImmichVR" in request.param else service.embedder_port
    return f"http://127.0.0.1:{port}"


@pytest.fixture(scope="session")
def start(hub: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Service]]:
    """Yield a function that starts services with other settings on copies of the cache.

    They run until the end of the session.
    """
    with ExitStack() as stack:

        def started(ready: bool = True, **environ: Any) -> Service:
            folder = tmp_path_factory.mktemp("own")
            if "HF_HUB_CACHE" not in environ:
                environ["HF_HUB_CACHE"] = folder / "hub"
                shutil.copytree(hub, folder / "hub", symlinks=True)
            environ.setdefault("HF_HUB_OFFLINE", 1)
            service = stack.enter_context(Service(folder / "log", **environ).started())
            if ready and environ.get("WARMUP_ON_STARTUP") != "false":
                service.wait_until_warm()
            else:
                service.wait_for("/ready" if ready else "/health", 200)
            return service

        yield started


@pytest.fixture(scope="session")
def managed(start: Callable[..., Service]) -> Service:
    """Start a service whose models tests may load, unload and delete."""
    return start()
