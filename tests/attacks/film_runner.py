# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Reads films in a process of its own, as the service does, and prints a line about each.

``python -m tests.attacks.film_runner FILE...``: "FILE frames N", "FILE refused STATUS MESSAGE"
or "FILE defect ERROR". Files whose names have an ending are read in the way that it says: "start",
"interval" or "keyframes". The kernel ends the process where a file takes too much time.
"""

from __future__ import annotations

import sys
from pathlib import Path

from app.decoding import limits
from app.errors import TwinlensError
from app.video.reader import FilmLimits, FilmReader
from app.video.work import FilmWork

MAX_PIXELS = 2_000_000
MAX_FRAMES = 60
_CPU_SECONDS = 30
_MEMORY = 2**30


WORKS = {
    "": FilmWork("none"),
    ".start": FilmWork("none", start=0.12, seconds=0.1),
    ".interval": FilmWork("none", sampling="interval", fps=10),
    ".keyframes": FilmWork("none", sampling="keyframes"),
}


def main() -> None:
    limits.bound_memory(_MEMORY)
    for path in sys.argv[1:]:
        limits.bound_cpu(_CPU_SECONDS)
        print(path, outcome(Path(path)), flush=True)


def outcome(path: Path) -> str:
    try:
        with path.open("rb") as file:
            bounds = FilmLimits(MAX_PIXELS, MAX_FRAMES)
            with FilmReader(file, bounds, WORKS[path.suffix]) as reader:
                count = sum(1 for _ in reader.frames())
                return f"frames {count} {reader.problem or ''}"
    except TwinlensError as error:
        return f"refused {error.status} {error.message}"
    except BaseException as error:  # the test fails, and says why
        return f"defect {error!r}"


if __name__ == "__main__":
    main()
