# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests the process that works on one film, with a network that is trivial."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from app.decoding.source import descriptor_of
from app.errors import (
    BadRequest,
    ClientGone,
    NotAvailable,
    ProcessingFailed,
    TooLarge,
    TooSlow,
    TwinlensError,
)
from app.pictures.steps import Outline
from app.video import handle
from app.video.depths import FloatArray, Levels, Plan
from app.video.handle import FilmProcess, Limits, Progress
from app.video.work import FilmWork, Output
from benchmarks.service import PROJECT
from tests.films.liar import INFO, OPEN, liar
from tests.films.small import film, pictures, read
from tests.waiting import wait_for

LIMITS = Limits(max_pixels=10**6, max_frames=10**4, max_seconds=300, cores=2)
ZIP = FilmWork("zip", is_steady=False)
EXACT = FilmWork("mkv", "ffv1", is_steady=False)


class Brightness:
    """A network to which bright things are near. It works while ``go`` is set."""

    def __init__(self, batch: int = 1) -> None:
        self.go = threading.Event()
        self.go.set()
        self.batch = batch
        self.batches: list[int] = []
        self.error: Exception | None = None

    def plan(self, size: tuple[int, int]) -> Plan:
        outline = Outline(size).resize((48, 32))
        return Plan(outline.steps, outline.size, self.batch)

    def maps(self, frames: list[Levels], is_over: Callable[[], bool]) -> list[FloatArray]:
        while not self.go.wait(0.05):
            if is_over():
                raise ClientGone
        if self.error is not None:
            raise self.error
        self.batches.append(len(frames))
        return [frame.mean(axis=2, dtype=np.float32) for frame in frames]


class Films:
    """Starts processes, and ends them after the test."""

    def __init__(self) -> None:
        self.started: list[FilmProcess] = []
        self.network = Brightness()
        self.is_gone = False
        self.progress: list[Progress] = []

    def start(
        self, data: bytes, work: FilmWork = ZIP, limits: Limits = LIMITS, count: bool = False
    ) -> FilmProcess:
        def check() -> None:
            if self.is_gone:
                raise ClientGone

        network = None if count else self.network
        source = descriptor_of(io.BytesIO(data))
        process = FilmProcess(source, work, limits, network, check, self.progress.append)
        self.started.append(process)
        return process

    def made(self, data: bytes, work: FilmWork = ZIP) -> bytes:
        return rest(self.start(data, work))

    def held(self, data: bytes) -> psutil.Process:
        """Start a process that waits for maps."""
        self.network.go.clear()
        process = self.start(data)
        wait_for(lambda: process._depths and process._depths.is_busy())
        assert process.pid is not None
        return psutil.Process(process.pid)


@pytest.fixture
def films() -> Iterator[Films]:
    films = Films()
    yield films
    films.network.go.set()
    for process in films.started:
        process.close()


def rest(process: FilmProcess) -> bytes:
    return b"".join(iter(process.read, b""))


def error_of(process: FilmProcess) -> TwinlensError:
    with pytest.raises(TwinlensError) as caught:
        rest(process)
    wait_for(lambda: process.pid is None or not psutil.pid_exists(process.pid))
    return caught.value


def maps_of(data: bytes) -> list[Levels]:
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        return [np.asarray(Image.open(file.open(name))) for name in sorted(file.namelist())]


@pytest.mark.parametrize("batch", [1, 4])
def test_each_frame_gets_its_own_map_in_order(films: Films, batch: int) -> None:
    """Several frames are inferred at a time, in batches where that is faster."""
    films.network.batch = batch
    maps = maps_of(films.made(film(30)))
    assert len(maps) == 30
    columns = [float(np.nonzero(map_ > 210)[1].mean()) for map_ in maps]
    expected = [float(np.nonzero(image[..., 0] > 200)[1].mean()) for image in pictures(30)]
    assert np.abs(np.subtract(columns, expected)).max() < 3, "the disc is where it is in the frame"
    assert sum(films.network.batches) == 30
    assert 1 <= max(films.network.batches) <= batch


def test_progress_and_size_are_told(films: Films) -> None:
    process = films.start(film(24), FilmWork("mp4", "h264", stereo="sbs"))
    data = process.read()
    assert process.size == (192, 64)
    assert process.info is not None
    assert (process.info.codec, process.info.size, process.info.frames) == ("h264", (96, 64), 24)
    data += rest(process)
    assert len(read(data)[0]) == 24
    assert [films.progress[0].frames, films.progress[-1].frames] == [0, 24]
    assert {progress.total for progress in films.progress} == {24}
    assert films.progress[-1].seconds_of_film == pytest.approx(23 / 12, abs=0.01)


def test_frames_are_counted_without_a_network(films: Films) -> None:
    work = FilmWork("none", sampling="interval", fps=3)
    process = films.start(film(24), work, count=True)
    process.wait()
    assert process.frames == 6


def test_what_is_no_film_is_refused(films: Films) -> None:
    assert isinstance(error_of(films.start(b"not a film" * 100)), BadRequest)


def test_a_codec_that_the_container_does_not_hold_is_refused_before_any_inference(
    films: Films,
) -> None:
    refused = error_of(films.start(film(), FilmWork("mp4", "ffv1")))
    assert isinstance(refused, BadRequest)
    assert "mkv" in refused.message
    assert not films.network.batches


def test_a_client_that_hangs_up_ends_the_process(films: Films) -> None:
    process = films.held(film(30))
    films.is_gone = True
    assert isinstance(error_of(films.started[0]), ClientGone)
    assert not process.is_running()


def test_closing_ends_the_process_at_once(films: Films) -> None:
    process = films.held(film(30))
    films.started[0].close()
    assert not process.is_running()
    assert films.started[0].read() == b""


@pytest.mark.parametrize(
    ("number", "kind", "text"),
    [
        (signal.SIGKILL, NotAvailable, "ended from outside"),
        (signal.SIGSEGV, BadRequest, "crash"),
        (signal.SIGABRT, BadRequest, "crash"),
    ],
)
def test_a_process_that_dies_is_an_error_that_says_why(
    films: Films, number: int, kind: type[TwinlensError], text: str
) -> None:
    films.held(film(30)).send_signal(number)
    died = error_of(films.started[0])
    assert isinstance(died, kind)
    assert text in died.message


def test_a_process_that_stands_still_is_ended(
    films: Films, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = films.held(film(30))
    process.suspend()
    monkeypatch.setattr(handle, "STUCK_SECONDS", 0.2)
    films.network.go.set()
    stuck = error_of(films.started[0])
    assert isinstance(stuck, TooSlow)
    assert "no progress" in stuck.message
    assert not process.is_running()


def test_waiting_for_the_device_or_for_the_client_is_not_standing_still(
    films: Films, monkeypatch: pytest.MonkeyPatch
) -> None:
    films.held(film(60))
    process = films.started[0]
    monkeypatch.setattr(handle, "STUCK_SECONDS", 0.2)
    process._thread.join(1)
    assert process._thread.is_alive(), "it waits for the device"
    monkeypatch.undo()
    films.network.go.set()
    process.close()
    process = films.start(film(40, (320, 240)), EXACT)
    wait_for(lambda: process._unread() > 2**13)
    monkeypatch.setattr(handle, "STUCK_SECONDS", 0.2)
    process._thread.join(1)
    assert process._thread.is_alive(), "it waits for the client"
    monkeypatch.undo()
    assert len(read(rest(process))[0]) == 40


@pytest.mark.parametrize("output", ["none", "zip"])
def test_decoding_frames_that_are_not_wanted_is_not_standing_still(
    films: Films, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, output: Output
) -> None:
    """A minute and more may pass between two wanted frames of a large film on a small machine."""
    slow = tmp_path / "slow.py"
    slow.write_text(
        "import os, sys, time\n"
        "sys.path.insert(0, os.getcwd())\n"
        "from app.video import process\n"
        "from app.video.track import Track\n"
        "decode = Track._frames_of\n"
        "def slowly(self, packet):\n"
        "    time.sleep(0.1)\n"
        "    return decode(self, packet)\n"
        "Track._frames_of = slowly\n"
        "process._DECODING_SECONDS = 0.0\n"
        "process.main()\n"
    )
    monkeypatch.setattr(handle, "COMMAND", [sys.executable, str(slow)])
    work = FilmWork(output, sampling="interval", fps=0.02)
    process = films.start(film(50), work, count=output == "none")
    wait_for(lambda: process.info or process._error)
    monkeypatch.setattr(handle, "STUCK_SECONDS", 2)
    process.wait()
    assert process.frames == 1


def test_the_whole_work_has_a_time_limit(films: Films) -> None:
    films.network.go.clear()
    limits = Limits(10**6, 10**4, max_seconds=0.5, cores=1)
    late = error_of(films.start(film(), ZIP, limits))
    assert isinstance(late, TooSlow)
    assert "VIDEO_MAX_SECONDS" in late.message


def test_a_film_that_needs_too_much_memory_is_refused(
    films: Films, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handle, "_LEAST_BYTES", 20 * 2**20)
    monkeypatch.setattr(handle, "_BYTES_A_PIXEL", 0)
    refused = error_of(films.start(film(10, (1280, 720)), FilmWork("mp4", "h264", stereo="sbs")))
    # Some parts of FFmpeg say that memory is short, and others crash.
    assert isinstance(refused, TooLarge | BadRequest)
    assert "memory" in refused.message


def test_an_error_of_the_network_is_the_error_of_the_film(films: Films) -> None:
    films.network.error = NotAvailable("closing")
    assert error_of(films.start(film())).message == "closing"
    films.network.error = ValueError("a defect")
    assert isinstance(error_of(films.start(film())), ProcessingFailed)


def test_warnings_without_end_are_cut(
    films: Films, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lies = [OPEN, *({"warning": str(number)} for number in range(1000)), {"end": 0}]
    monkeypatch.setattr(handle, "COMMAND", liar(tmp_path, *lies))
    monkeypatch.setattr(handle, "_EXIT_SECONDS", 0.1)
    process = films.start(film(1))
    process.wait()
    assert process.warnings == [str(number) for number in range(20)]


@pytest.mark.parametrize(
    "lies",
    [
        [{"info": INFO | {"size": [10**5, 10**5]}, "total": None}],
        [{"info": INFO | {"size": [-1, 5]}, "total": None}],
        [{"info": INFO | {"codec": "h264\r\nX-Header: 1"}, "total": None}],
        [{"info": {}, "total": None}],
        [OPEN, {"decoded": "many"}],
        [OPEN, {"frame": 0, "place": 99}],
        [OPEN, {"frame": 0, "place": -1}],
        [OPEN, {"frame": 0, "place": 0}, {"frame": 1, "place": 0}],
        [OPEN, OPEN],
        [{"progress": "many", "seconds": 1}],
        [{"unknown": 1}],
        ["text"],
        [{"error": "SystemExit", "message": "a", "title": "b"}],
    ],
)
def test_a_process_that_was_taken_over_cannot_harm_the_worker(
    films: Films, lies: list[object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    films.network.go.clear()
    monkeypatch.setattr(handle, "COMMAND", liar(tmp_path, *lies))
    assert isinstance(error_of(films.start(film(1))), ProcessingFailed)


def test_the_process_ends_with_its_worker(tmp_path: Path) -> None:
    """Also a worker that is killed leaves no process behind, not even one that stands still."""
    path = tmp_path / "film.mp4"
    path.write_bytes(film(30))
    worker = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import os, sys, time\n"
            "from tests.unit.test_film_process import LIMITS, ZIP, Brightness, FilmProcess\n"
            "network = Brightness()\n"
            "network.go.clear()\n"
            "source = os.open(sys.argv[1], os.O_RDONLY)\n"
            "process = FilmProcess(source, ZIP, LIMITS, network, lambda: None)\n"
            "while process.info is None: time.sleep(0.01)\n"
            "print(process.pid, flush=True)\n"
            "time.sleep(1000)\n",
            str(path),
        ],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdout is not None
    process = psutil.Process(int(worker.stdout.readline()))
    process.suspend()
    worker.kill()
    worker.wait()
    worker.stdout.close()
    wait_for(lambda: not process.is_running())


def test_nothing_is_left_open(films: Films) -> None:
    films.made(film(3))
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        films.made(film(3))
        films.started[-1].close()
    wait_for(lambda: len(list(Path("/proc/self/fd").iterdir())) <= before)
