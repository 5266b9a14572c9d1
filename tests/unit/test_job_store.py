# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests jobs on disk: their bounds, their ids, and folders that are not theirs."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.errors import Busy, ClientGone, NotFound, TooLarge
from app.jobs.home import Home
from app.jobs.run import end
from tests.unit.job_workers import ORDER, UNKNOWN_ID, Worker


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    worker = Worker(tmp_path / "jobs")
    yield worker
    worker.jobs.close()


def test_the_number_of_jobs_is_bounded(tmp_path: Path) -> None:
    worker = Worker(tmp_path, max_jobs=2)
    ids = [worker.add(), worker.add()]
    with pytest.raises(Busy, match="MAX_JOBS"):
        worker.add()
    worker.jobs.cancel(ids[0])
    worker.add()


def test_the_number_is_bounded_over_all_threads(tmp_path: Path) -> None:
    workers = [Worker(tmp_path, max_jobs=5) for _ in range(2)]

    def add(number: int) -> bool:
        try:
            workers[number % 2].add(os.urandom(2**20))
        except Busy:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(add, range(16))) == 5


def test_disk_space_is_bounded_and_the_oldest_ended_jobs_make_room(tmp_path: Path) -> None:
    worker = Worker(tmp_path, max_bytes=20_000)
    with pytest.raises(TooLarge, match="JOBS_MAX_BYTES"):
        worker.add(b"x" * 20_001)
    worker.films.release_all()
    worker.jobs.start()
    first, second = worker.add(b"x" * 1000), worker.add(b"y" * 1000)
    for id in (first, second):  # each has 6000 bytes at its end
        worker.wait(id, "done")
    third = worker.add(b"z" * 1500)  # 9000, and the film while it is made
    assert worker.wait(third, "done").bytes == 9000
    with pytest.raises(NotFound):
        worker.state(first)
    worker.state(second)
    too_long = worker.wait(worker.add(b"x" * 4000), "failed")  # 24,000 bytes
    assert "JOBS_MAX_BYTES" in (too_long.error or "")
    worker.jobs.close()
    assert worker.store.used() < 20_000


def test_a_film_that_finds_no_room_is_refused_for_now(tmp_path: Path) -> None:
    worker = Worker(tmp_path, max_bytes=20_000)
    worker.add(b"x" * 15_000)
    with pytest.raises(Busy, match="JOBS_MAX_BYTES"):
        worker.add(b"x" * 10_000)
    worker.add(b"x" * 100)


def test_jobs_are_removed_some_time_after_their_end(tmp_path: Path) -> None:
    worker = Worker(tmp_path, keep_seconds=0)
    ended, waiting = worker.add(), worker.add()
    claim = worker.store.claim(ended)
    assert claim is not None
    end(claim, "done")
    claim.release()
    worker.store.tidy()
    assert [state.id for state in worker.store.all()] == [waiting]


def test_of_those_that_have_ended_the_newest_are_kept(tmp_path: Path) -> None:
    worker = Worker(tmp_path, max_jobs=1)
    ids = []
    for _ in range(8):
        ids.append(worker.add())
        claim = worker.store.claim(ids[-1])
        assert claim is not None
        claim.state.error = "wrong"
        end(claim, "failed")
        claim.release()
    worker.store.tidy()
    assert [state.id for state in worker.store.all()] == ids[-5:]


def test_an_upload_that_breaks_off_leaves_nothing(worker: Worker) -> None:
    def gone() -> None:
        raise ClientGone

    with pytest.raises(ClientGone):
        worker.jobs.create(io.BytesIO(b"film"), ORDER, gone)
    assert worker.store.all() == []
    assert worker.store.used() == 0


def test_leftovers_of_killed_processes_are_removed(worker: Worker, tmp_path: Path) -> None:
    folder = tmp_path / "jobs"
    id = worker.add()
    (folder / ".new-abc").mkdir()
    (folder / ".new-abc" / "input").write_bytes(b"half")
    (folder / id / "state.json").write_text('{"of": "another version"}')
    worker.store.tidy()
    assert (folder / ".new-abc").exists(), "perhaps it is being made just now"
    for path in (folder / ".new-abc", folder / id):
        os.utime(path, (1, 1))
    worker.store.tidy()
    assert not (folder / ".new-abc").exists()
    assert not (folder / id).exists()


def test_a_folder_of_somebody_else_is_left_alone(worker: Worker, tmp_path: Path) -> None:
    """A folder for jobs may have other things in it, even with names like ids."""
    theirs = tmp_path / "jobs" / "holiday-in-france-2024"
    assert len(theirs.name) == 22
    theirs.mkdir(parents=True)
    (theirs / "photo.jpg").write_bytes(b"photo")
    os.utime(theirs, (1, 1))
    worker.store.tidy()
    with pytest.raises(NotFound):
        worker.jobs.cancel(theirs.name)
    assert worker.store.all() == []
    assert [path.name for path in theirs.iterdir()] == ["photo.jpg"]


@pytest.mark.parametrize(
    "id",
    ["", ".", "..", "../" * 7 + "x", "a/b", UNKNOWN_ID, UNKNOWN_ID + "\n", "\0" * 22, "é" * 22],
)
def test_ids_are_not_paths(worker: Worker, tmp_path: Path, id: str) -> None:
    (tmp_path / "state.json").write_text(worker.state(worker.add()).model_dump_json())
    with pytest.raises(NotFound):
        worker.state(id)
    with pytest.raises(NotFound):
        worker.jobs.cancel(id)
    assert (tmp_path / "state.json").exists()


def test_ids_cannot_be_guessed(worker: Worker) -> None:
    ids = {worker.add() for _ in range(10)}
    assert len({id[:4] for id in ids}) == 10
    assert all(len(id) == 22 for id in ids)


def test_readers_see_whole_states_only(worker: Worker) -> None:
    id = worker.add()
    claim = worker.store.claim(id)
    assert claim is not None
    over = threading.Event()

    def write() -> None:
        while not over.is_set():
            claim.state.frames_done += 1
            claim.state.warnings = ["w" * 10_000]
            claim.write()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        seen = [worker.state(id).frames_done for _ in range(500)]
    finally:
        over.set()
        thread.join()
        claim.release()
    assert seen == sorted(seen)


def test_a_temporary_folder_ends_with_the_service() -> None:
    home = Home(None)
    home.prepare()
    folder = home.path()
    assert folder.stat().st_mode & 0o777 == 0o700, "films are nobody else's business"
    home.close()
    assert not folder.exists()
