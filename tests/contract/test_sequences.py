# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Sends each client's whole sequence of requests with curl, to each listener and to nginx."""

from __future__ import annotations

import subprocess
from pathlib import Path

from benchmarks.service import PROJECT
from tests.pictures import picture, rotated_jpeg


def play(script: str, *arguments: str) -> str:
    path = PROJECT / "tests" / "contract" / script
    done = subprocess.run([path, *arguments], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return done.stdout


def test_immichvr_loads_then_asks_for_depth(base: str, tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(rotated_jpeg(picture(320, 240)))
    assert play("immichvr.sh", base, str(photo), str(tmp_path / "out.png")) == "ImmichVR: ok\n"


def test_classifarr_tests_the_connection_then_embeds(base: str, tmp_path: Path) -> None:
    poster = tmp_path / "poster.jpg"
    poster.write_bytes(rotated_jpeg(picture(200, 300), orientation=1))
    assert play("classifarr.sh", base, str(poster)) == "Classifarr: ok\n"
