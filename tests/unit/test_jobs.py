# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests the life of a job, with a stand-in for films."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.errors import Busy, ClientGone, NotAvailable, NotFound
from app.jobs.jobs import BrokenOff
from app.jobs.run import LOST_TWICE
from tests.unit.job_workers import Worker, everything
from tests.waiting import wait_for


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    worker = Worker(tmp_path / "jobs")
    yield worker
    worker.jobs.close()


@pytest.fixture
def another(worker: Worker, tmp_path: Path) -> Iterator[Worker]:
    other = Worker(tmp_path / "jobs")
    yield other
    other.jobs.close()


# -- the life of a job --------------------------------------------------------------------------


def test_a_job_is_worked_on_and_any_worker_answers_for_it(worker: Worker, another: Worker) -> None:
    id = another.add()
    assert (worker.state(id).state, worker.state(id).frames_total) == ("queued", None)
    worker.jobs.start()
    worker.wait(id, "running")
    worker.films.go.release(2)
    wait_for(lambda: another.state(id).frames_done == 2)
    running = another.state(id)
    assert (running.frames_total, running.bytes, running.ended_at) == (3, 12, None)
    worker.films.release_all()
    done = another.wait(id, "done")
    assert (done.frames_done, done.bytes, done.error, done.seconds_left) == (3, 24, None, None)
    assert (done.warnings, done.weights, done.attempts) == (["no sound"], "random", 1)
    assert done.created_at <= (done.started_at or 0) <= (done.ended_at or 0)
    assert everything(another, id) == b"film" * 6
    folder = worker.jobs.result(done).parent
    wait_for(lambda: not (folder / "input").exists())  # it is not needed any more


def test_jobs_begin_in_the_order_of_their_requests(worker: Worker) -> None:
    films = [str(number).encode() for number in range(5)]
    ids = [worker.add(film) for film in films]
    assert [state.id for state in worker.store.all()] == ids
    worker.films.release_all()
    worker.jobs.start()
    for id in ids:
        worker.wait(id, "done")
    assert worker.films.begun == films


def test_each_job_is_done_by_one_worker(worker: Worker, another: Worker) -> None:
    films = [f"film {number}".encode() for number in range(12)]
    for each in (worker, another):
        each.films.release_all()
        each.jobs.start()
    ids = [worker.add(film) for film in films]
    for id in ids:
        worker.wait(id, "done")
    assert sorted(worker.films.begun + another.films.begun) == sorted(films)


def test_a_job_fails_with_its_reason_and_without_a_result(worker: Worker) -> None:
    worker.films.error = NotAvailable("small is not on disk")
    worker.jobs.start()
    failed = worker.wait(worker.add(), "failed")
    assert failed.error == "small is not on disk"
    worker.films.error = None
    worker.films.late_error = ValueError("secret of the code")
    worker.films.release_all()
    failed = worker.wait(worker.add(), "failed")
    assert "unexpectedly" in (failed.error or "")
    assert "secret" not in (failed.error or "")
    assert failed.bytes == 0
    assert not worker.jobs.result(failed).exists()


def test_a_full_disk_fails_the_job_and_not_the_worker(worker: Worker) -> None:
    worker.films.late_error = OSError(28, "No space left on device")
    worker.films.release_all()
    worker.jobs.start()
    assert "disk" in (worker.wait(worker.add(), "failed").error or "")
    worker.films.late_error = None
    worker.wait(worker.add(), "done")


def test_direct_requests_have_all_places_so_a_job_waits(worker: Worker) -> None:
    worker.films.error = Busy("2 films are under way")
    worker.jobs.start()
    id = worker.add()
    wait_for(lambda: worker.films.begun)
    assert worker.wait(id, "queued").attempts == 0
    worker.films.error = None
    worker.films.release_all()
    assert worker.wait(id, "done").attempts == 1


# -- results ------------------------------------------------------------------------------------


def test_a_result_is_followed_while_it_is_made(worker: Worker, another: Worker) -> None:
    id = worker.add()
    worker.jobs.start()
    worker.films.go.release(1)
    another.wait_for_bytes(id)
    follower = another.jobs.follow(another.state(id), lambda: False)
    assert next(follower) == b"film"
    worker.films.release_all()
    assert b"".join(follower) == b"film" * 5


def test_a_followed_result_breaks_off_if_the_job_fails_or_is_removed(worker: Worker) -> None:
    worker.jobs.start()
    for late_error in (ValueError(), None):
        worker.films.late_error = late_error
        id = worker.add()
        worker.films.go.release(1)
        worker.wait_for_bytes(id)
        follower = worker.jobs.follow(worker.state(id), lambda: False)
        assert next(follower) == b"film"
        if late_error:
            worker.films.go.release(2)
        else:
            worker.jobs.cancel(id)
        with pytest.raises(BrokenOff):
            list(follower)


def test_a_follower_that_hangs_up_is_let_go(worker: Worker) -> None:
    id = worker.add()
    worker.jobs.start()
    worker.films.go.release(1)
    worker.wait_for_bytes(id)
    follower = worker.jobs.follow(worker.state(id), lambda: True)
    assert next(follower) == b"film"
    with pytest.raises(ClientGone):
        next(follower)


# -- the end of jobs ----------------------------------------------------------------------------


def test_any_worker_cancels_a_job(worker: Worker, another: Worker) -> None:
    worker.jobs.start()
    running, queued = worker.add(), worker.add()
    worker.wait(running, "running")
    another.jobs.cancel(queued)
    another.jobs.cancel(running)
    for id in (running, queued):
        with pytest.raises(NotFound):
            worker.state(id)
        with pytest.raises(NotFound):
            worker.jobs.cancel(id)
    wait_for(lambda: worker.films.closed == 1)
    wait_for(lambda: not worker.jobs.is_busy())
    assert worker.store.used() == 0
    worker.films.release_all()
    worker.wait(worker.add(), "done")


def test_a_worker_that_ends_with_the_service_puts_its_job_back(
    worker: Worker, another: Worker
) -> None:
    id = worker.add()
    worker.jobs.start()
    worker.films.go.release(1)
    worker.wait_for_bytes(id)
    follower = another.jobs.follow(worker.state(id), lambda: False)
    assert next(follower) == b"film"
    worker.outlook = "stop"
    worker.jobs.close()
    state = another.state(id)
    assert (state.state, state.attempts, state.bytes) == ("queued", 0, 0)
    with pytest.raises(BrokenOff):  # the new attempt may give other bytes
        list(follower)
    another.films.release_all()
    another.jobs.start()
    assert another.wait(id, "done").attempts == 1
    assert everything(another, id) == b"film" * 6


def test_a_worker_with_a_fault_loses_its_job_once_but_not_twice(
    worker: Worker, another: Worker
) -> None:
    id = worker.add()
    for number, each in enumerate((worker, another)):
        each.jobs.start()
        worker.wait_for_attempt(id, number + 1)
        each.outlook = "fail"
        each.jobs.close()
    assert worker.state(id).state == "failed"
    assert worker.state(id).error == LOST_TWICE


def test_a_worker_that_leaves_starts_no_job(worker: Worker, another: Worker) -> None:
    worker.outlook = "leave"
    worker.jobs.start()
    another.films.release_all()
    another.jobs.start()
    another.wait(worker.add(), "done")
    assert not worker.films.begun


def run_and_hang(folder: Path, attempt: int) -> None:
    worker = Worker(folder)
    worker.jobs.start()
    wait_for(lambda: any(state.attempts == attempt for state in worker.store.all()))
    time.sleep(600)


def kill_while_it_runs(worker: Worker, folder: Path, id: str, attempt: int) -> None:
    process = multiprocessing.get_context("fork").Process(
        target=run_and_hang, args=(folder, attempt)
    )
    process.start()
    worker.wait_for_attempt(id, attempt)
    process.kill()
    process.join()
    assert worker.state(id).state == "running", "nobody has noticed yet"


def test_a_killed_worker_is_noticed_and_its_job_begins_once_more(
    worker: Worker, tmp_path: Path
) -> None:
    id = worker.add()
    kill_while_it_runs(worker, tmp_path / "jobs", id, 1)
    worker.films.release_all()
    worker.jobs.start()
    done = worker.wait(id, "done")
    assert done.attempts == 2
    assert everything(worker, id) == b"film" * 6


def test_a_job_that_kills_two_workers_fails(worker: Worker, tmp_path: Path) -> None:
    id = worker.add()
    kill_while_it_runs(worker, tmp_path / "jobs", id, 1)
    kill_while_it_runs(worker, tmp_path / "jobs", id, 2)
    worker.jobs.start()
    assert worker.wait(id, "failed").error == LOST_TWICE
    assert not worker.films.begun
