# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests the work on films with the built-in depth model, from the file to the answer."""

from __future__ import annotations

import io
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from app.errors import BadRequest, Busy, ClientGone, NotAvailable, ProcessingFailed
from app.runtime import Runtime
from app.tasks.video import Chunks, FilmResult, Progress
from app.video import handle
from app.video.reader import FilmLimits, FilmReader
from app.video.work import FilmWork
from benchmarks.peak import highest_mb
from config.models import ModelSpec
from config.settings import Settings
from tests.films.liar import OPEN, liar
from tests.films.small import SIZE, film, read, sound_of
from tests.waiting import wait_for

ZIP = FilmWork("zip", sampling="interval", fps=2, is_steady=False)
DEPTH = FilmWork("mp4", "h264")
PAIR = FilmWork("mp4", "h264", stereo="sbs")


@pytest.fixture(scope="module")
def running(built_in: Path) -> Iterator[Runtime]:
    settings = Settings(hf_hub_cache=built_in, hf_hub_offline=True, depth_model="builtin-depth")
    runtime = Runtime(settings)
    runtime.start()
    yield runtime
    runtime.close()


def spec(runtime: Runtime) -> ModelSpec:
    return runtime.registry.get("builtin-depth", "depth")


def started(runtime: Runtime, data: bytes, work: FilmWork, **options: object) -> FilmResult:
    return runtime.video.run(io.BytesIO(data), spec(runtime), work, **options)  # type: ignore[arg-type]


def process_of(result: FilmResult) -> psutil.Process:
    assert isinstance(result.chunks, Chunks)
    pid = result.chunks._process.pid
    assert pid is not None
    return psutil.Process(pid)


def test_a_depth_film_keeps_frames_and_times(running: Runtime) -> None:
    times = [0, 1, 2, 5, 6, 7, 8, 9, 20, 21, 22, 23]  # the frame rate varies
    data = film(times=times)
    steps: list[Progress] = []
    result = started(running, data, DEPTH, on_progress=steps.append)
    assert (result.weights, result.provenance.engine) == ("built-in", "openvino")
    frames, seconds = read(b"".join(result.chunks))
    assert seconds == pytest.approx([time / 12 for time in times], abs=0.001)
    assert {frame.shape for frame in frames} == {(SIZE[1], SIZE[0], 3)}
    assert np.ptp(np.stack(frames).astype(int), axis=3).max() <= 3, "grey"
    assert (steps[0].frames, steps[-1].frames) == (0, 12)
    assert result.timings.infer > 0
    assert result.warnings == []


def test_a_3d_film_keeps_frames_times_and_sound(running: Runtime) -> None:
    data = film(15, sound=True)
    made = b"".join(started(running, data, PAIR).chunks)
    frames, seconds = read(made)
    before, expected = read(data)
    assert seconds == pytest.approx(expected, abs=0.001)
    for frame, image in zip(frames, before, strict=True):
        assert frame.shape == (SIZE[1], 2 * SIZE[0], 3)
        for view in (frame[:, : SIZE[0]], frame[:, SIZE[0] :]):
            assert np.abs(view.astype(int) - image).mean() < 12, "each view shows the frame"
    assert sound_of(made) == sound_of(data)


def test_a_part_of_a_film(running: Runtime) -> None:
    work = FilmWork("mp4", "h264", start=0.5, seconds=0.5, stereo="half-sbs")
    frames, seconds = read(b"".join(started(running, film(24), work).chunks))
    assert len(frames) == 6
    assert frames[0].shape == (SIZE[1], SIZE[0], 3)
    assert seconds[0] == pytest.approx(0, abs=0.05)


def test_maps_of_a_zip_are_those_of_single_photos(running: Runtime) -> None:
    data = film(24)
    made = b"".join(started(running, data, ZIP).chunks)
    reader = FilmReader(io.BytesIO(data), FilmLimits(10**6, 100), ZIP)
    with zipfile.ZipFile(io.BytesIO(made)) as file:
        names = file.namelist()
        assert names == [f"depth_frame_{number:04d}.png" for number in range(1, 5)]
        for name, frame in zip(names, reader.frames(), strict=True):
            photo = io.BytesIO()
            Image.fromarray(frame.image).save(photo, "PNG")
            alone = running.depth.run(io.BytesIO(photo.getvalue()), spec(running))
            assert file.read(name) == alone.file


def test_maps_without_loss_have_16_bits(running: Runtime) -> None:
    import av

    made = b"".join(started(running, film(4), FilmWork("mkv", "ffv1")).chunks)
    with av.open(io.BytesIO(made), "r") as container:
        frames = list(container.decode(video=0))
    assert len(frames) == 4
    levels = np.stack([frame.to_ndarray() for frame in frames])
    assert levels.dtype == np.uint16
    assert np.unique(levels % 257).size > 100, "more than 256 levels"


def test_frames_are_counted(running: Runtime) -> None:
    work = FilmWork("none", sampling="interval", fps=2)
    counted = running.video.count(io.BytesIO(film(24)), work)
    assert counted.frames == 4
    assert counted.info.frame_rate == Fraction(12)


def test_what_is_no_film_is_refused(running: Runtime) -> None:
    for work in (ZIP, PAIR):
        with pytest.raises(BadRequest):
            started(running, b"GIF89a" + bytes(100), work)
    with pytest.raises(BadRequest):
        running.video.count(io.BytesIO(b""), FilmWork("none"))


def test_a_client_that_hangs_up_ends_the_process(running: Runtime) -> None:
    gone = threading.Event()
    result = started(running, film(200), FilmWork("mkv", "ffv1"), is_gone=gone.is_set)
    process = process_of(result)
    next(result.chunks)
    gone.set()
    wait_for(lambda: not process.is_running())
    with pytest.raises(ClientGone):
        list(result.chunks)


def test_an_answer_that_is_dropped_ends_the_process(running: Runtime) -> None:
    result = started(running, film(200), FilmWork("mkv", "ffv1"))
    process = process_of(result)
    next(result.chunks)
    del result
    wait_for(lambda: not process.is_running())


def test_films_beyond_the_limit_are_refused_until_one_ends(running: Runtime) -> None:
    long = film(200)
    playing = [started(running, long, FilmWork("mkv", "ffv1")) for _ in range(2)]
    with pytest.raises(Busy) as refused:
        started(running, long, PAIR)
    assert "VIDEO_CONCURRENCY" in refused.value.message
    assert refused.value.retry_after
    photo = io.BytesIO()
    Image.new("RGB", (64, 48), "navy").save(photo, "PNG")
    photo.seek(0)
    assert running.depth.run(photo, spec(running)).file, "photos are answered meanwhile"
    for each in playing:
        each.chunks.close()  # type: ignore[attr-defined]
    assert running.video.count(io.BytesIO(film(4)), FilmWork("none")).frames == 4


def test_a_process_that_skips_the_maps_keeps_no_place(
    running: Runtime, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A film that has taken over its process may send output without a single map."""
    command = liar(tmp_path, OPEN, {"size": [64, 48]}, output="made up")
    with monkeypatch.context() as patch:
        patch.setattr(handle, "COMMAND", command)
        for _ in range(3):  # one more than VIDEO_CONCURRENCY
            with pytest.raises(ProcessingFailed):
                started(running, film(4), ZIP)
    assert b"".join(started(running, film(4), ZIP).chunks)


def test_memory_does_not_grow_with_the_length(running: Runtime) -> None:
    """Not even if the client does not read for a while: no stage of the film runs ahead."""

    def peak(count: int) -> float:
        """Most resident memory of the process, in MB of 2**20 bytes."""
        result = started(running, film(count, (320, 240)), FilmWork("mkv", "ffv1", stereo="sbs"))
        process, highest, spent = process_of(result), 0.0, -1.0
        while (now := sum(process.cpu_times())) != spent:  # until it waits for the client
            spent = now
            time.sleep(0.5)
        for _ in result.chunks:
            with suppress(OSError, IndexError):  # it has exited
                highest = highest_mb(process.pid)
        return highest

    short = peak(24)
    assert short > 0
    # The frames that are added take 50 MB as pictures, 100 MB as pairs and 120 MB as maps with
    # what the network read. Some more buffers than in the short film may be full.
    assert peak(240) < short + 64


def test_the_end_of_the_service_ends_films(built_in: Path) -> None:
    settings = Settings(hf_hub_cache=built_in, hf_hub_offline=True, depth_model="builtin-depth")
    runtime = Runtime(settings)
    runtime.start()
    result = started(runtime, film(200), FilmWork("mkv", "ffv1"))
    process = process_of(result)
    runtime.close()
    wait_for(lambda: not process.is_running())
    with pytest.raises(NotAvailable):
        list(result.chunks)
