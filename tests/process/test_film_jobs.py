# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests real films with two workers whose inferences can be slowed down: jobs, and signals."""

from __future__ import annotations

import io
import os
import signal
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import psutil
import pytest
import requests

from tests.contract import check
from tests.films.numbered import SIZE, film
from tests.process.conftest import SMALL, Faulty

FILM = film(rate=10, count=40, sound_seconds=2)
SBS = "/api/video/sbs?job=true"


#: paths of the jobs that the test has added
ADDED: list[str] = []


def add(faulty: Faulty, path: str = SBS, data: bytes = FILM) -> str:
    answer = faulty.service.post(path, files={"video": ("holiday.mp4", data)})
    assert answer.status_code == 202, answer.text
    ADDED.append(str(answer.headers["Location"]))
    return ADDED[-1]


def job(faulty: Faulty, url: str) -> dict[str, Any]:
    answer = faulty.service.get(url)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def wait(faulty: Faulty, url: str, state: str) -> dict[str, Any]:
    faulty.wait_for(lambda: job(faulty, url)["state"] in (state, "failed"))
    assert job(faulty, url)["state"] == state, job(faulty, url)["error"]
    return job(faulty, url)


def streamed(faulty: Faulty) -> requests.Response:
    """Ask for a film without a job."""
    files = {"video": ("holiday.mp4", FILM)}
    answer = faulty.service.post("/api/video/sbs", files=files, stream=True)
    assert answer.status_code == 200, answer.text
    return answer


def frames_of(data: bytes) -> list[tuple[int, int]]:
    with av.open(io.BytesIO(data), "r") as container:
        assert [each.codec_context.name for each in container.streams.audio] == ["aac"]
        return [(frame.width, frame.height) for frame in container.decode(video=0)]


def film_processes(faulty: Faulty) -> list[psutil.Process]:
    found = []
    for process in psutil.Process(faulty.service.pid).children(recursive=True):
        with suppress(psutil.Error):
            if "app.video.process" in process.cmdline():
                found.append(process)
    return found


@pytest.fixture(scope="module")
def running(
    start_faulty: Callable[..., Faulty], tmp_path_factory: pytest.TempPathFactory
) -> Faulty:
    folder = tmp_path_factory.mktemp("jobs")
    return start_faulty(WEB_CONCURRENCY=2, JOBS_FOLDER=folder, ENABLED_FAMILIES="depth")


@pytest.fixture
def faulty(running: Faulty) -> Iterator[Faulty]:
    yield running
    running.heal("slow")
    while ADDED:
        running.service.delete(ADDED.pop())


def test_a_3d_film(faulty: Faulty) -> None:
    faulty.plan("slow", 0.1)
    url = add(faulty)
    faulty.wait_for(lambda: job(faulty, url)["bytes"])
    with faulty.service.get(f"{url}/result", stream=True) as growing:
        parts = growing.iter_content(1000)
        begin = next(parts)
        assert job(faulty, url)["state"] == "running"
        faulty.heal("slow")
        followed = begin + b"".join(parts)
    done = wait(faulty, url, "done")
    assert (done["frames_done"], done["frames_total"]) == (40, 40)
    assert done["file_name"] == "sbs_holiday.mp4"
    result = faulty.service.get(f"{url}/result").content
    assert followed == result
    assert len(result) == done["bytes"]
    assert frames_of(result) == [(2 * SIZE[0], SIZE[1])] * 40


def test_a_zip_of_maps(faulty: Faulty) -> None:
    url = add(faulty, "/api/video/depth?fps=2&job=true")
    assert wait(faulty, url, "done")["file_name"] == "depth_frames_holiday.zip"
    with zipfile.ZipFile(io.BytesIO(faulty.service.get(f"{url}/result").content)) as archive:
        assert len(archive.namelist()) == 8


def test_what_is_no_film_fails_with_the_reason(faulty: Faulty) -> None:
    url = add(faulty, data=SMALL)
    faulty.wait_for(lambda: job(faulty, url)["state"] == "failed")
    assert job(faulty, url)["error"]
    assert "unexpectedly" not in job(faulty, url)["error"]
    check.error(faulty.service.get(f"{url}/result"), 409)


def test_cancel_ends_the_film_s_process(faulty: Faulty) -> None:
    faulty.plan("slow", 0.2)
    url = add(faulty)
    faulty.wait_for(lambda: film_processes(faulty))
    faulty.wait_for(lambda: job(faulty, url)["frames_done"])
    assert faulty.service.delete(url).status_code == 200
    faulty.wait_for(lambda: not film_processes(faulty))


def test_a_killed_worker_in_the_middle_of_a_film(faulty: Faulty) -> None:
    faulty.plan("slow", 0.2)
    url = add(faulty)
    faulty.wait_for(lambda: job(faulty, url)["bytes"])
    (process,) = film_processes(faulty)
    with faulty.service.get(f"{url}/result", stream=True) as growing:
        parent = process.parent()
        assert parent is not None
        parent.kill()
        with pytest.raises((requests.exceptions.ChunkedEncodingError, requests.ConnectionError)):
            _ = growing.content
    faulty.wait_for(lambda: process.pid not in [each.pid for each in film_processes(faulty)])
    faulty.heal("slow")
    assert wait(faulty, url, "done")["attempts"] == 2
    assert len(frames_of(faulty.service.get(f"{url}/result").content)) == 40


def test_a_film_that_is_being_sent_is_completed_in_spite_of_a_reload(faulty: Faulty) -> None:
    faulty.plan("slow", 0.1)
    before = {worker.pid for worker in faulty.service.workers()}
    with streamed(faulty) as answer:
        parts = answer.iter_content(1000)
        begin = next(parts)
        os.kill(faulty.service.pid, signal.SIGHUP)
        faulty.wait_for(
            lambda: (
                {worker.pid for worker in faulty.service.workers()} - before
                and faulty.service.get("/health").status_code == 200
            )
        )
        faulty.heal("slow")
        assert len(frames_of(begin + b"".join(parts))) == 40
    faulty.wait_for(lambda: not before & {worker.pid for worker in faulty.service.workers()})


def test_the_service_ends_at_once_and_begins_the_film_anew(
    start_faulty: Callable[..., Faulty], tmp_path: Path
) -> None:
    first = start_faulty(JOBS_FOLDER=tmp_path, ENABLED_FAMILIES="depth")
    first.plan("slow", 0.2)
    url = add(first)
    first.wait_for(lambda: job(first, url)["frames_done"])
    processes = film_processes(first)
    os.kill(first.service.pid, signal.SIGTERM)
    assert first.service.process.wait(60) == 0
    assert not any(process.is_running() for process in processes)
    assert "Traceback" not in first.service.text()
    second = start_faulty(JOBS_FOLDER=tmp_path, ENABLED_FAMILIES="depth")
    assert wait(second, url, "done")["attempts"] == 1
