# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Makes folders of photos, and runs the command line on them in a separate process."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.service import PROJECT
from tests.pictures import encoded, picture, rotated_jpeg


@dataclass
class Mixed:
    """Holds the paths of good files, of broken ones, and of files that are not images."""

    good: set[Path] = field(default_factory=set)
    bad: set[Path] = field(default_factory=set)
    others: set[Path] = field(default_factory=set)


def mixed(folder: Path, count: int) -> Mixed:
    """Make ``count`` distinct small files in three folders.

    Some are broken, some are not images, some have an EXIF orientation, and some are HEIC files.
    """
    made = Mixed()
    base = picture(96, 64)
    for number in range(count):
        photo = base.copy()
        photo.putpixel((number % 96, number // 96), (255, 0, 0))
        below = folder / ("", "one", "one/two")[number % 3]
        below.mkdir(parents=True, exist_ok=True)
        match number % 8:
            case 0:
                path, data = below / f"broken{number}.jpg", encoded(photo, "JPEG")[:400]
            case 1:
                path, data = below / f"notes{number}.txt", b"no image"
            case 2:
                path, data = below / f"turned{number}.jpg", rotated_jpeg(photo)
            case 3:
                file = io.BytesIO()
                photo.save(file, "HEIF")
                path, data = below / f"phone{number}.heic", file.getvalue()
            case _:
                path, data = below / f"good{number}.png", encoded(photo)
        path.write_bytes(data)
        {0: made.bad, 1: made.others}.get(number % 8, made.good).add(path)
    return made


def environ(hub: Path) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    return ours | {"HF_HUB_CACHE": str(hub), "HF_HUB_OFFLINE": "1"}


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "app", *map(str, arguments)]


def run(hub: Path, *arguments: object, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, with ``more`` variables in its environment."""
    return subprocess.run(
        command(*arguments),
        cwd=PROJECT,
        env=environ(hub) | more,
        text=True,
        capture_output=True,
        timeout=100,
        check=False,
    )
