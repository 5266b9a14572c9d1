# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests jobs over HTTP, with two workers and films.conf.py, whose "films" are plans."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from benchmarks.service import PROJECT, Service
from tests.contract import check
from tests.process.conftest import only
from tests.services import nginx_before
from tests.waiting import wait_for

DEPTH = "/api/video/depth?output_format=mp4"
#: of a job that lasts as long as a test needs it
LONG: dict[str, Any] = {"chunks": 100_000, "bytes": 1000, "seconds": 0.01}


class Studio:
    """A service whose films are planned, and its clients."""

    def __init__(self, service: Service, folder: Path) -> None:
        self.service = service
        self._folder = folder
        self._ids: list[str] = []  # of jobs that were added and not removed since

    def ask(self, path: str = DEPTH, base: str | None = None, **plan: Any) -> requests.Response:
        files = {"video": ("holiday.mp4", json.dumps(plan).encode())}
        url = (base or self.service.url("")) + path + "&job=true"
        answer = requests.post(url, files=files, timeout=240)
        if answer.status_code == 202:
            self._ids.append(answer.json()["id"])
        return answer

    def add(self, **plan: Any) -> str:
        answer = self.ask(**plan)
        assert answer.status_code == 202, answer.text
        id = answer.json()["id"]
        assert answer.headers["Location"] == f"/api/jobs/{id}"
        return str(id)

    def job(self, id: str) -> dict[str, Any]:
        answer = self.service.get(f"/api/jobs/{id}")
        assert answer.status_code == 200, answer.text
        job: dict[str, Any] = answer.json()
        return job

    def wait(self, id: str, state: str) -> dict[str, Any]:
        wait_for(lambda: self.job(id)["state"] == state, 60, self.service)
        return self.job(id)

    def wait_for_bytes(self, id: str) -> None:
        wait_for(lambda: self.job(id)["bytes"], 60, self.service)

    def result(self, id: str, **options: Any) -> requests.Response:
        return self.service.get(f"/api/jobs/{id}/result", **options)

    def remove_all(self) -> None:
        while self._ids:
            self.service.delete(f"/api/jobs/{self._ids.pop()}")

    def made(self, name: str) -> str:
        file = self._folder / name
        return file.read_text() if file.exists() else ""

    def worker_of(self, job: str) -> psutil.Process:
        """The worker that runs this job: it alone has its lock open."""
        for worker in self.service.workers():
            if any(job in file.path and file.path.endswith("lock") for file in worker.open_files()):
                return worker
        raise AssertionError(f"no worker runs {job}")


@pytest.fixture(scope="module")
def begin(
    start: Callable[..., Service], hub: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Studio]:
    def begun(**environ: Any) -> Studio:
        folder = tmp_path_factory.mktemp("films")
        config = PROJECT / "tests" / "process" / "films.conf.py"
        environ = {"HF_HUB_CACHE": hub, "ENABLED_FAMILIES": "depth"} | environ
        return Studio(start(config=config, FILMS=folder, **environ), folder)

    return begun


@pytest.fixture(scope="module")
def shared(begin: Callable[..., Studio], tmp_path_factory: pytest.TempPathFactory) -> Studio:
    folder = tmp_path_factory.mktemp("jobs")
    return begin(WEB_CONCURRENCY=2, JOBS_FOLDER=folder, MAX_JOBS=4, JOBS_MAX_BYTES=2_000_000)


@pytest.fixture
def studio(shared: Studio) -> Iterator[Studio]:
    yield shared
    shared.remove_all()


def expected(chunks: int, size: int) -> bytes:
    return b"".join(bytes([number % 256]) * size for number in range(chunks))


def test_a_job_from_its_request_to_its_result(studio: Studio) -> None:
    answer = studio.ask(chunks=30, bytes=1000, seconds=0.1, warnings=["its sound is left out"])
    assert answer.status_code == 202
    begun = answer.json()
    assert begun["state"] == "queued"
    assert begun["file_name"] == "depth_holiday.mp4"
    id = begun["id"]
    wait_for(lambda: studio.job(id)["frames_per_second"], 60, studio.service)
    running = studio.job(id)
    assert running["state"] == "running"
    assert running["frames_total"] == 30
    assert 0 < running["frames_done"] < 30
    assert running["seconds_left"] > 0
    assert running["started_at"] >= running["created_at"]
    done = studio.wait(id, "done")
    assert done["frames_done"] == 30
    assert done["bytes"] == 30_000
    assert done["warnings"] == ["its sound is left out"]
    assert done["ended_at"] > done["started_at"]
    assert done["weights"] == "random"
    result = studio.service.get(done["result_url"])
    assert result.content == expected(30, 1000)
    assert result.headers["Content-Type"] == "video/mp4"
    assert result.headers["Content-Length"] == "30000"
    assert 'filename="depth_holiday.mp4"' in result.headers["Content-Disposition"]
    assert result.headers["X-Model-Used"] == "small"


def test_every_worker_answers_for_every_job(studio: Studio) -> None:
    id = studio.add(**LONG)
    studio.wait_for_bytes(id)
    for worker in studio.service.workers():
        with only(worker, studio.service):
            assert studio.job(id)["state"] == "running"


def test_no_client_learns_of_the_jobs_of_others(studio: Studio) -> None:
    id = studio.add(chunks=1)
    for path in ("/api/jobs", "/api/jobs/"):
        answer = studio.service.get(path)
        check.error(answer, 404)
        assert id not in answer.text


def test_parts_of_a_result(studio: Studio) -> None:
    id = studio.add(chunks=10, bytes=100)
    studio.wait(id, "done")
    whole = expected(10, 100)
    part = studio.result(id, headers={"Range": "bytes=150-349"})
    assert (part.status_code, part.content) == (206, whole[150:350])
    assert part.headers["Content-Range"] == "bytes 150-349/1000"
    assert part.headers["Content-Length"] == "200"
    last = studio.result(id, headers={"Range": "bytes=-10"})
    assert (last.status_code, last.content) == (206, whole[-10:])
    assert studio.result(id).headers["Accept-Ranges"] == "bytes"
    check.error(studio.result(id, headers={"Range": "bytes=5000-"}), 416)
    known = {"If-None-Match": studio.result(id).headers["ETag"]}
    assert studio.result(id, headers=known).status_code == 304
    head = requests.head(studio.service.url(f"/api/jobs/{id}/result"), timeout=240)
    assert head.headers["Content-Length"] == "1000"
    for _ in range(20):  # more than may be sent at a time: all have been let go
        assert studio.result(id).status_code == 200


@pytest.mark.parametrize("way", ["direct", "nginx"])
def test_a_result_is_read_while_it_is_made(studio: Studio, way: str, tmp_path: Path) -> None:
    id = studio.add(chunks=40, bytes=1000, seconds=0.05)
    studio.wait_for_bytes(id)
    with nginx_before(studio.service, tmp_path) as proxy:
        base = proxy if way == "nginx" else studio.service.url("")
        url = f"{base}/api/jobs/{id}/result"
        with ThreadPoolExecutor(3) as pool, requests.get(url, stream=True, timeout=240) as growing:
            others = [pool.submit(requests.get, url, timeout=240) for _ in range(3)]
            assert "Content-Length" not in growing.headers
            parts = growing.iter_content(1000)
            begin = next(parts)
            assert studio.job(id)["state"] == "running", "the beginning came only with the end"
            assert begin + b"".join(parts) == expected(40, 1000)
            assert {other.result().content for other in others} == {expected(40, 1000)}
        assert studio.wait(id, "done")["bytes"] == 40_000
        assert requests.get(url, timeout=240).content == expected(40, 1000)


@pytest.mark.parametrize("way", ["fails", "cancel"])
def test_a_result_that_will_not_be_completed_breaks_off(studio: Studio, way: str) -> None:
    plan = {"chunks": 60, "bytes": 100, "seconds": 0.05, "fails": 50} if way == "fails" else LONG
    id = studio.add(**plan)
    studio.wait_for_bytes(id)
    growing = studio.result(id, stream=True)
    assert growing.status_code == 200
    parts = growing.iter_content(100)
    next(parts)
    if way == "cancel":
        studio.service.delete(f"/api/jobs/{id}")
    with pytest.raises((requests.exceptions.ChunkedEncodingError, requests.ConnectionError)):
        list(parts)
    if way == "fails":
        assert studio.wait(id, "failed")["error"] == "too slow"
        check.error(studio.result(id), 409)
        assert "too slow" in studio.result(id).json()["message"]


def test_many_clients_that_follow_a_result_leave_pages_free(studio: Studio) -> None:
    id = studio.add(**LONG)
    studio.wait_for_bytes(id)
    followers: list[requests.Response] = []
    while len(followers) < 40:
        followers.append(studio.result(id, stream=True))
        if followers[-1].status_code == 429:
            break
    assert len(followers) > 8
    check.error(followers[-1], 429)
    assert studio.service.get("/api/models").status_code == 200
    assert studio.job(id)["state"] == "running"
    for follower in followers:
        follower.close()
    wait_for(lambda: studio.result(id, stream=True).status_code == 200, 60, studio.service)


def test_cancel_ends_the_work_from_any_worker(studio: Studio) -> None:
    for number in range(2):
        name = f"cancelled-{number}"
        id = studio.add(name=name, **LONG)
        studio.wait_for_bytes(id)
        with only(studio.service.workers()[number], studio.service):
            answer = studio.service.delete(f"/api/jobs/{id}")
        assert answer.json()["success"] is True
        wait_for(lambda name=name: studio.made(name) == "closed", 60, studio.service)  # type: ignore[misc]
        check.error(studio.service.get(f"/api/jobs/{id}"), 404)
        check.error(studio.service.delete(f"/api/jobs/{id}"), 404)
        check.error(studio.result(id), 404)


def test_a_killed_worker_loses_no_job(studio: Studio) -> None:
    id = studio.add(chunks=60, bytes=100, seconds=0.05)
    studio.wait_for_bytes(id)
    growing = studio.result(id, stream=True)
    studio.worker_of(id).kill()
    with pytest.raises((requests.exceptions.ChunkedEncodingError, requests.ConnectionError)):
        _ = growing.content
    done = studio.wait(id, "done")
    assert done["attempts"] == 2
    assert studio.result(id).content == expected(60, 100)
    wait_for(lambda: len(studio.service.workers()) == 2, 60, studio.service)


def test_too_many_jobs_are_refused(studio: Studio) -> None:
    """Two run, one in each worker, and two more wait: their results do not exist yet."""
    ids = [studio.add(**LONG) for _ in range(4)]
    refused = studio.ask(**LONG)
    check.error(refused, 429)
    assert "MAX_JOBS" in refused.json()["message"]
    assert int(refused.headers["Retry-After"]) > 0
    wait_for(lambda: [studio.job(id)["state"] for id in ids].count("running") == 2)
    early = studio.result(ids[-1])
    check.error(early, 409)
    assert "queued" in early.json()["message"]


def test_a_job_that_needs_too_much_disk_fails_with_the_reason(studio: Studio) -> None:
    failed = studio.wait(studio.add(chunks=100, bytes=100_000), "failed")
    assert "JOBS_MAX_BYTES" in failed["error"]
    assert studio.wait(studio.add(chunks=10, bytes=100_000), "done")["bytes"] == 1_000_000


@pytest.mark.parametrize(
    "id", ["x", "A" * 22, "..", "%2e%2e", "..%2fstate.json", "%00", "é", "A" * 2000]
)
def test_unknown_jobs(studio: Studio, id: str) -> None:
    url = studio.service.url(f"/api/jobs/{id}")
    for method in ("GET", "DELETE"):
        check.error(requests.request(method, url, timeout=240), 404)


def test_options_that_have_no_meaning(studio: Studio) -> None:
    files = {"video": ("a.mp4", b"{}")}
    odd = studio.service.post("/api/video/depth?job=perhaps", files=files)
    check.error(odd, 400)
    assert "perhaps" in odd.json()["message"]
    check.error(studio.service.post("/api/video/frames?job=true", files=files), 400)
    check.error(studio.service.post("/api/video/depth?job=true"), 400)


def test_a_reload_lets_jobs_finish(studio: Studio) -> None:
    id = studio.add(chunks=100, bytes=100, seconds=0.05)
    studio.wait_for_bytes(id)
    before = {worker.pid for worker in studio.service.workers()}
    os.kill(studio.service.pid, signal.SIGHUP)
    wait_for(lambda: len({w.pid for w in studio.service.workers()} - before) == 2)
    done = studio.wait(id, "done")
    assert done["attempts"] == 1
    assert studio.result(id).content == expected(100, 100)
    wait_for(lambda: not {w.pid for w in studio.service.workers()} & before)


def test_a_restart_begins_jobs_anew_and_keeps_results(
    begin: Callable[..., Studio], tmp_path: Path
) -> None:
    first = begin(JOBS_FOLDER=tmp_path / "jobs")
    done, running = first.add(chunks=3, bytes=100), first.add(chunks=20, bytes=100, seconds=0.1)
    first.wait(done, "done")
    first.wait_for_bytes(running)
    assert first.service.stop() == 0
    second = begin(JOBS_FOLDER=tmp_path / "jobs")
    assert second.result(done).content == expected(3, 100)
    assert second.wait(running, "done")["attempts"] == 1
    assert second.result(running).content == expected(20, 100)


def test_without_a_folder_of_its_own_nothing_is_left(
    begin: Callable[..., Studio], tmp_path: Path
) -> None:
    studio = begin(TMPDIR=tmp_path)
    studio.wait(studio.add(chunks=3, bytes=100), "done")
    (folder,) = tmp_path.glob("twinlens-jobs-*")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert studio.service.stop() == 0
    assert not folder.exists()
