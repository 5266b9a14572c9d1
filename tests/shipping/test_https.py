# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests the lines of docs/3d-and-vr.md with which nginx offers HTTPS, which headsets need."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from textwrap import dedent

from benchmarks.service import PROJECT

LISTEN = "listen 8080;"


def test_nginx_takes_the_lines_for_https(tmp_path: Path) -> None:
    section = (PROJECT / "docs/3d-and-vr.md").read_text().partition("\n## HTTPS\n")[2]
    section = section.partition("\n## ")[0].replace("/etc/twinlens", f"{tmp_path}/keys")
    blocks = dict(re.findall(r"^ *```(\w+)\n(.*?)^ *```$", section, re.MULTILINE | re.DOTALL))
    script = dedent(blocks["sh"]).replace("sudo ", "")
    subprocess.run(["bash", "-euc", script], check=True, capture_output=True, timeout=60)
    shipped = (PROJECT / "config/nginx.conf").read_text()
    assert LISTEN in shipped
    shipped = shipped.replace("/tmp/twinlens-nginx.pid", f"{tmp_path}/pid")
    (tmp_path / "nginx.conf").write_text(shipped.replace(LISTEN, LISTEN + blocks["nginx"]))
    upstreams = (PROJECT / "config/nginx-upstreams.conf").read_text()
    (tmp_path / "nginx-upstreams.conf").write_text(upstreams)
    command = ["nginx", "-t", "-c", str(tmp_path / "nginx.conf")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
