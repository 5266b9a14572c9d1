# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Runs the project's gunicorn.conf.py with a task that makes no films, but bytes as planned.

The plan is the "film" of the request, as JSON:

* chunks, bytes: number and size of the chunks; chunk n consists of the byte n % 256
* seconds: pause before each chunk but the first
* fails: number of the chunk at which the task fails; with ``unexpected`` by a defect
* name: of the file in $FILMS that says how many chunks were made, and at last "closed"
* warnings: of the film
"""

import json
import os
import runpy
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

globals().update(
    {
        name: value
        for name, value in runpy.run_path("gunicorn.conf.py").items()
        if not name.startswith("__")
    }
)

# These imports come after the configuration, which has to run first.
from app.errors import ClientGone, TooSlow  # noqa: E402
from app.models.base import Provenance  # noqa: E402
from app.tasks.results import Timings  # noqa: E402
from app.tasks.video import FilmResult, Progress  # noqa: E402
from app.video.work import FilmWork  # noqa: E402
from config.models import ModelSpec  # noqa: E402

_folder = Path(os.environ["FILMS"])
_post_worker_init: Any = globals()["post_worker_init"]


class _Planned:
    def run(
        self,
        film: BinaryIO,
        spec: ModelSpec,
        _: FilmWork,
        is_gone: Callable[[], bool],
        on_progress: Callable[[Progress], None],
    ) -> FilmResult:
        """See VideoTask."""
        plan = json.load(film)
        on_progress(Progress(0, plan["chunks"], 0))
        provenance = Provenance("1234", "openvino", "fp32", 1)
        chunks = self._chunks(plan, is_gone, on_progress)
        return FilmResult(
            weights="random",
            provenance=provenance,
            timings=Timings(),
            warnings=plan.get("warnings", []),
            chunks=chunks,
        )

    def _chunks(
        self,
        plan: dict[str, Any],
        is_gone: Callable[[], bool],
        on_progress: Callable[[Progress], None],
    ) -> Iterator[bytes]:
        note = _folder / plan.get("name", "unnamed")
        try:
            for number in range(plan["chunks"]):
                end = time.monotonic() + (plan.get("seconds", 0) if number else 0)
                while time.monotonic() < end:
                    if is_gone():
                        raise ClientGone
                    time.sleep(0.02)
                if number == plan.get("fails"):
                    raise ValueError("secret") if plan.get("unexpected") else TooSlow("too slow")
                _write(note, str(number + 1))
                on_progress(Progress(number + 1, plan["chunks"], number / 25))
                yield bytes([number % 256]) * plan["bytes"]
        finally:
            _write(note, "closed")


def _write(note: Path, text: str) -> None:
    """Write a file at once: a test reads it meanwhile."""
    unfinished = note.with_name(f"{note.name}.{threading.get_ident()}.part")
    unfinished.write_text(text)
    unfinished.replace(note)


def post_worker_init(worker: Any) -> None:
    """Do what the project's configuration does, and replace the task."""
    _post_worker_init(worker)
    # The task itself stays: jobs have it already.
    worker.wsgi.extensions["twinlens"].video.run = _Planned().run
