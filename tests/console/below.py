# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Runs nginx in front of a service, which it puts below a path."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.service import Service, free_port
from tests.waiting import wait_for

PATH = "/photos/twinlens"
_CONFIGURATION = """
pid {folder}/pid;
error_log stderr;
events {{}}
http {{
  access_log off;
  client_max_body_size 0;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location {path}/ {{
      proxy_pass http://127.0.0.1:{behind}/;
      proxy_request_buffering off;
      proxy_buffering off;
    }}
  }}
}}
"""


@dataclass(frozen=True)
class Below:
    """The service as browsers see it behind the proxy."""

    origin: str

    def url(self, path: str) -> str:
        """The address of a path of the service."""
        return f"{self.origin}{PATH}{path}"


@contextmanager
def below_a_path(service: Service, folder: Path) -> Iterator[Below]:
    """Run nginx in front of a service, which it passes everything below ``PATH`` on to.

    It buffers nothing in files, which its workers could not write as another user.
    """
    port = free_port()
    file = folder / "nginx.conf"
    file.write_text(
        _CONFIGURATION.format(folder=folder, port=port, path=PATH, behind=service.embedder_port)
    )
    command = ["nginx", "-c", str(file), "-g", "daemon off;"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(lambda: process.poll() is not None or _listens(port))
            assert process.poll() is None, "nginx ended"
            yield Below(f"http://127.0.0.1:{port}")
        finally:
            process.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
