# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests files that would take for ever, need all memory or crash their decoder.

Most tests make a decoder misbehave on purpose (tests/attacks/faulty_template.py), because the
limits have to hold even where the checks of a format find nothing wrong.
"""

from __future__ import annotations

import base64
import io
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from pathlib import Path

import psutil
import pytest
import requests

from app.decoding import pool
from app.decoding.job import Job
from app.pictures.decode import in_full
from benchmarks.service import PROJECT, Service
from tests.attacks.bombs import progressive
from tests.contract import check
from tests.pictures import encoded, picture
from tests.waiting import wait_for

FAULTY = PROJECT / "tests" / "attacks" / "faulty_template.py"
PHOTO = encoded(picture(320, 240), "JPEG")
SECONDS = 2  # the service's DECODE_TIMEOUT_SECONDS
WORKERS = 1

BUILT_IN = {
    "HF_HUB_OFFLINE": 1,
    "HF_ENDPOINT": "http://127.0.0.1:9",
    "DEPTH_MODEL": "builtin-depth",
    "DEFAULT_MODEL": "builtin-clip",
}


@pytest.fixture(scope="module")
def attacked(built_in: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Run a service whose decoders misbehave on files that name a fault."""
    folder = tmp_path_factory.mktemp("decoding")
    config = PROJECT / "tests" / "attacks" / "decoding.conf.py"
    service = Service(
        folder / "log",
        config,
        HF_HUB_CACHE=built_in,
        DECODE_TIMEOUT_SECONDS=SECONDS,
        WEB_CONCURRENCY=WORKERS,
        TMPDIR=folder,
        **BUILT_IN,
    )
    with service.started():
        service.wait_until_warm()
        yield service


def faulty(name: str) -> bytes:
    return name.encode() + b"\n" + PHOTO


def post(service: Service, data: bytes, path: str = "/embed-image") -> requests.Response:
    return service.post(path, files={"image": ("a.jpg", data)})


def templates(worker: psutil.Process) -> list[psutil.Process]:
    return [each for each in worker.children() if "template" in " ".join(each.cmdline())]


def decoders(service: Service) -> list[psutil.Process]:
    found = []
    for worker in service.workers():
        for template in templates(worker):
            found += template.children()
    return found


def hang_up(service: Service, data: bytes, path: bytes = b"/embed-image") -> socket.socket:
    """Send a whole request and return the connection, without waiting for the answer."""
    head = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    body = head + data + b"\r\n--b--\r\n"
    connection = socket.create_connection(("127.0.0.1", service.embedder_port))
    connection.sendall(
        b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (path, len(body), body)
    )
    return connection


@pytest.mark.parametrize(
    ("fault", "status", "says"),
    [
        ("spin", 413, f"longer than {SECONDS} seconds of CPU time (DECODE_TIMEOUT_SECONDS)"),
        ("allocate", 413, "MB of memory"),
        ("crash", 400, "makes its decoder crash"),
        ("stop", 504, f"within {3 * SECONDS} seconds"),
        ("die", 503, "ended from outside"),
        ("leave", 500, "could not be processed"),
        ("fail", 500, "could not be processed"),
    ],
)
def test_each_limit_holds_and_the_next_request_works(
    attacked: Service, fault: str, status: int, says: str
) -> None:
    (worker,) = attacked.workers()
    answer = post(attacked, faulty(fault))
    while fault == "spin" and answer.status_code == 504:
        # A busy machine gives it less than a third of a processor: "try again when less busy".
        answer = post(attacked, faulty(fault))
    assert says in check.error(answer, status)
    assert post(attacked, PHOTO).status_code == 200
    assert attacked.workers() == [worker]


def test_a_decoder_that_the_system_ends_once_goes_unnoticed(attacked: Service) -> None:
    assert post(attacked, faulty("die_once")).status_code == 200


def test_one_bad_item_fails_no_other(attacked: Service) -> None:
    items = [
        {"image_base64": base64.b64encode(data).decode()}
        for data in (PHOTO, faulty("spin"), faulty("crash"), faulty("allocate"), PHOTO)
    ]
    body = check.json(attacked.post("/embed-batch", json={"items": items}))
    assert [each["status"] for each in body["results"]] == ["ok", "error", "error", "error", "ok"]


def test_the_process_behind_the_decoders_may_be_killed(attacked: Service) -> None:
    (worker,) = attacked.workers()
    assert post(attacked, PHOTO).status_code == 200
    (template,) = templates(worker)
    template.kill()
    assert post(attacked, PHOTO).status_code == 200
    assert attacked.workers() == [worker]


def test_who_hangs_up_frees_the_decoder(attacked: Service) -> None:
    """If a client hangs up, its decoder is free for others.

    Otherwise the decoder, which the file stops, would be occupied until its deadline.
    """
    before = attacked.text().count("status=499")
    for connection in [hang_up(attacked, faulty("stop")) for _ in range(4)]:
        connection.close()
    assert post(attacked, PHOTO).status_code == 200
    wait_for(lambda: attacked.text().count("status=499") == before + 4, service=attacked)
    wait_for(
        lambda: all(each.status() != "stopped" for each in decoders(attacked)), service=attacked
    )


@pytest.mark.parametrize("stays", [False, True])
def test_scans_without_end_beside_honest_clients(attacked: Service, stays: bool) -> None:
    """Files of countless scans do no harm; they once blocked all clients for minutes (issue 18)."""
    bomb = progressive(10_000, 10_000, 40_000)
    assert len(bomb) < 700_000
    paths = ("/api/depth", "/embed-image")
    with ThreadPoolExecutor(8) as clients:
        if stays:
            refused = [clients.submit(post, attacked, bomb, path) for path in paths * 2]
        else:
            for path in paths * 2:
                hang_up(attacked, bomb, path.encode()).close()
            refused = []
        honest = [clients.submit(post, attacked, PHOTO, path) for path in paths * 2]
        assert [each.result().status_code for each in honest] == [200] * 4
        for each in refused:
            # The bomb is stopped by its CPU time or, if all cores are busy, by the elapsed time.
            assert each.result().status_code in (400, 413, 503, 504)


def test_the_file_that_takes_longest_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """If other files wait, the slowest one is given up.

    Otherwise two slow files, one of them set aside, would block all others for 60 seconds.
    """
    monkeypatch.setattr(pool, "COMMAND", [sys.executable, str(FAULTY)])
    monkeypatch.setattr(pool, "_CLAIM_SECONDS", 2.0)
    decoders = pool.Decoders(1, 10**6, 20)
    slow = []
    with ThreadPoolExecutor(3) as threads, closing(decoders):
        for _ in range(2):
            noticed = threading.Event()
            job = Job(in_full, lambda *_: None, lambda: None, noticed.set)
            slow.append(threads.submit(decoders.decode, io.BytesIO(faulty("stop")), job))
            assert noticed.wait(60)
        honest = threads.submit(decoders.decode, io.BytesIO(PHOTO), job)
        assert honest.result(60).image.shape == (240, 320, 3)
        first = next(as_completed(slow, 30))
        assert "others wait" in str(first.exception())
        decoders.close()  # ends the other slow decode


def test_many_requests_leave_no_process_and_no_descriptor(attacked: Service) -> None:
    (worker,) = attacked.workers()
    kinds = [PHOTO, faulty("crash"), b"no image", faulty("leave"), PHOTO[:-100]]

    def some() -> None:
        with ThreadPoolExecutor(4) as clients:
            list(clients.map(lambda number: post(attacked, kinds[number % 5]), range(100)))

    def counts() -> tuple[int, int]:
        (template,) = templates(worker)
        return len(worker.children(recursive=True)), template.num_fds()

    some()
    descriptors, (_, held) = worker.num_fds(), counts()
    some()
    cores = len(os.sched_getaffinity(0))
    wait_for(lambda: counts()[0] <= 1 + cores, service=attacked)
    wait_for(lambda: worker.num_fds() <= descriptors + 2, service=attacked)
    assert counts()[1] <= held + cores


@pytest.mark.parametrize("how", ["the worker is killed", "reload", "shutdown"])
def test_no_decoder_is_left(attacked: Service, how: str) -> None:
    """This test comes last in this file, because it ends the service."""
    (worker,) = attacked.workers()
    assert post(attacked, PHOTO).status_code == 200
    connection = hang_up(attacked, faulty("spin"))  # this keeps one decoder busy
    wait_for(
        lambda: any(each.cpu_times().user > 0.3 for each in decoders(attacked)), service=attacked
    )
    before = worker.children(recursive=True)
    assert len(before) >= 2
    if how == "the worker is killed":
        worker.kill()
    elif how == "reload":
        os.kill(attacked.pid, signal.SIGHUP)
    else:
        os.kill(attacked.pid, signal.SIGTERM)
        assert attacked.process.wait(60) == 0
    connection.close()
    wait_for(lambda: not any(_is_alive(each) for each in before), service=attacked)
    if how != "shutdown":
        wait_for(lambda: len(attacked.workers()) == WORKERS, service=attacked)
        attacked.wait_until_ready()
        assert post(attacked, PHOTO).status_code == 200


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
