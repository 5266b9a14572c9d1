# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Measures 3D films: frames a second beside what the replaced service does, and where time goes.

A film is sent to Twinlens as a client does (``POST /api/video/sbs``). In turns with it, the loop in
``benchmarks.reference.films`` does what the video service of ImmichVR does, with the same weights.
The loop gets fewer frames, because each takes it seconds; both are measured by frames a second.

The share of the inference is that of the worker's CPU time in the CPU time of the worker and the
film's own process, which decodes, steadies, renders and encodes.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import av
import numpy as np
import psutil
import requests

from benchmarks.contenders import twinlens
from benchmarks.plan import Plan
from benchmarks.results import Cell, Results, Row, ratios, spread
from benchmarks.service import PROJECT, Service
from training.scenes import imagine, render

_RATE = 25
_POLL_SECONDS = 0.05
_HOUR = 3600


def make_film(path: Path, frames: int, size: tuple[int, int]) -> None:
    """Write an H.264 film: a camera pans over a rendered scene, with the noise of a sensor."""
    width, height = size
    wide = render(imagine(7), width + width // 4, height + 40).pixels
    rng = np.random.default_rng(7)
    noise = rng.normal(0, 2, (4, height, width, 3)).astype(np.float32)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", _RATE, options={"crf": "20", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(frames):
            left = round((wide.shape[1] - width) * number / max(1, frames - 1))
            top = round(20 + 20 * np.sin(number / 20))
            view = wide[top : top + height, left : left + width] + noise[number % 4]
            picture = np.clip(view, 0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())


def sent(service: Service, film: Path, model: str) -> Row:
    """Send a film; return frames a second, the share of the inference, and the peak memory."""
    (worker,) = service.workers()
    watch = _Watch(worker)
    before = _cpu_seconds(worker)
    began = time.monotonic()
    with film.open("rb") as file:
        answer = requests.post(
            service.url(f"/api/video/sbs?model={model}&format=SBS_FULL"),
            files={"video": (film.name, file)},
            timeout=_HOUR,
        )
    seconds = time.monotonic() - began
    answer.raise_for_status()
    infer = _cpu_seconds(worker) - before
    other, peak = watch.end()
    with tempfile.NamedTemporaryFile(suffix=".mp4") as made:
        made.write(answer.content)
        made.flush()
        with av.open(made.name) as container:
            count = sum(1 for _ in container.decode(video=0))
    return {
        "frames": count,
        "Twinlens, frames/s": count / seconds,
        "inference, share of CPU time": infer / (infer + other),
        "film's process, peak MB": peak / 2**20,
    }


class _Watch:
    """Watches the processes that a worker starts for a film: their CPU time and memory."""

    def __init__(self, worker: psutil.Process) -> None:
        self._worker = worker
        self._known = {child.pid for child in worker.children(recursive=True)}
        self._cpu: dict[int, float] = {}
        self._peak = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def _look(self) -> None:
        while not self._over.wait(_POLL_SECONDS):
            for child in self._worker.children(recursive=True):
                if child.pid not in self._known:
                    try:
                        self._cpu[child.pid] = _cpu_seconds(child)
                        self._peak = max(self._peak, child.memory_info().rss)
                    except psutil.NoSuchProcess:
                        continue

    def end(self) -> tuple[float, int]:
        """CPU seconds of the processes, and bytes of the largest."""
        self._over.set()
        self._thread.join()
        return sum(self._cpu.values()), self._peak


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def looped(cache: Path, model: str, film: Path, frames: int) -> float:
    """Run the loop of the replaced service in a separate process; return its frames a second."""
    command = [sys.executable, "-m", "benchmarks.reference.films"]
    done = subprocess.run(
        [*command, str(cache), model, str(film), str(frames)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
    )
    return float(done.stdout.split()[-1])


def measure(results: Results, cache: Path, logs: Path, model: str, plan: Plan) -> None:
    """Measure both in turns, and keep a row of the figures."""
    ours: list[Row] = []
    theirs: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        film, short = Path(folder, "film.mp4"), Path(folder, "short.mp4")
        make_film(film, plan.film_frames, plan.film_size)
        make_film(short, plan.film_frames_reference + 1, plan.film_size)
        service = twinlens(cache, logs, [model])
        with service.started():
            service.wait_until_warm()
            sent(service, short, model)  # a warm-up
            for _ in range(plan.rounds):
                ours.append(sent(service, film, model))
                if plan.every_reference:
                    theirs.append(looped(cache, model, short, plan.film_frames_reference))
    width, height = plan.film_size
    row: Row = {"model": model, "film": f"{width}x{height}, {_RATE} frames a second"}
    for column in ours[0]:
        row[column] = spread([_number(each[column]) for each in ours])
    if theirs:
        row["reference, frames/s"] = spread(theirs)
        rates = [_number(each["Twinlens, frames/s"]) for each in ours]
        row["Twinlens / reference"] = ratios(rates, theirs)
    results.put("films", [row], model=model)


def _number(cell: Cell) -> float:
    assert isinstance(cell, int | float)
    return float(cell)
