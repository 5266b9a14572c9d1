# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests a row of the family ``sharp``; ``tests.fake_sharp`` stands in for Apple's program."""

from __future__ import annotations

import gzip
import json
import os
import socket
import struct
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import requests
from PIL import Image

from benchmarks.service import PROJECT, Service
from tests import ply
from tests.contract import check
from tests.pictures import encoded, picture, rotated_jpeg
from tests.waiting import wait_for

PHOTO = encoded(picture(240, 180), "JPEG")
EMPTY = {"Content-Type": "application/x-www-form-urlencoded", "Content-Length": "0"}
HEAD = (
    "POST /api/splat HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    "Content-Length: {}\r\n\r\n"
)
PART = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'


class Installed:
    """A folder with the program and its checkpoint, and what the program has noted there."""

    def __init__(self, folder: Path) -> None:
        self.checkpoint = folder / "sharp.pt"
        self.temporary = folder / "tmp"
        self.programs = folder / "bin"
        self.table = folder / "models.toml"
        for each in (self.temporary, self.programs):
            each.mkdir(parents=True)
        self.checkpoint.touch()
        script = self.programs / "sharp"
        script.write_text(
            f'#!/bin/sh\nPYTHONPATH="{PROJECT}" exec "{sys.executable}" -m tests.fake_sharp "$@"\n'
        )
        script.chmod(0o755)
        row = f'key = "sharp"\nfamily = "sharp"\nname = "SHARP"\npath = "{self.checkpoint}"\n'
        self.table.write_text(f'[[model]]\n{row}license = "apple-amlr"\n')

    def settings(self) -> dict[str, Any]:
        """Settings of a service that uses it."""
        return {
            "PATH": f"{self.programs}:{os.environ['PATH']}",
            "TMPDIR": self.temporary,
            "JOBS_FOLDER": self.temporary.with_name("jobs"),
            "MODELS_FILE": self.table,
            "ENABLED_FAMILIES": "depth",
            "DEPTH_MODEL": "builtin-depth",
            "WARMUP_ON_STARTUP": "false",
            "HF_HUB_OFFLINE": 1,
            "HF_TOKEN": "secret",
        }

    def plan(self, what: str) -> None:
        """Say what the program does next, and forget what it has done."""
        self.checkpoint.write_text(what)
        for suffix in ("runs", "ends"):
            Path(f"{self.checkpoint}.{suffix}").unlink(missing_ok=True)

    def noted(self, suffix: str = "runs") -> list[Any]:
        """What the program has noted: for "runs" objects, for "ends" pairs of times."""
        try:
            lines = Path(f"{self.checkpoint}.{suffix}").read_text().splitlines()
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in lines]

    def wait_until_gone(self, service: Service) -> None:
        """Wait until all processes of the program are gone, and its files."""
        pids = [pid for run in self.noted() for pid in run["pids"]]
        wait_for(lambda: not any(map(psutil.pid_exists, pids)), service=service)
        wait_for(lambda: list(self.temporary.iterdir()) == [], service=service)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(tmp_path_factory.mktemp("sharp"))


@pytest.fixture(scope="module")
def service(
    installed: Installed, built_in: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    log = tmp_path_factory.mktemp("service") / "log"
    settings = installed.settings() | {"HF_HUB_CACHE": built_in, "WEB_CONCURRENCY": 2}
    with Service(log, **settings).started() as running:
        running.wait_for("/ready", 200)
        yield running


@pytest.fixture(autouse=True)
def usual(installed: Installed) -> None:
    installed.plan("splats")


def post(service: Service, data: bytes = PHOTO, /, **form: str) -> requests.Response:
    url = service.url("/api/splat")
    return requests.post(url, files={"image": ("a.jpg", data)}, data=form, timeout=240)


def hanging(service: Service) -> socket.socket:
    """Send a request without reading the answer."""
    body = PART + PHOTO + b"\r\n--b--\r\n"
    connection = socket.create_connection(("127.0.0.1", service.embedder_port))
    connection.sendall(HEAD.format(len(body)).encode() + body)
    return connection


def test_its_splats_come_in_the_usual_layout(service: Service, installed: Installed) -> None:
    for model in ("", "sharp"):
        response = post(service, model=model)
        assert response.status_code == 200, response.text
        assert response.headers["X-Model-Used"] == "sharp"
        assert response.headers["X-Depth-Unit"] == "metres"
        assert response.headers["X-File-Size"] == str(len(response.content))
        splats = ply.read(response.content)  # which knows no element but the vertices
        assert len(splats["x"]) == 16 * 12
        assert np.allclose(splats["z"], 2)
        assert all(np.isfinite(values).all() for values in splats.values())
    assert len(installed.noted()) == 2
    assert list(installed.temporary.iterdir()) == []


def test_the_photo_is_upright_and_its_camera_is_told(service: Service) -> None:
    pixels = np.zeros((80, 120, 3), np.uint8)
    pixels[:, :60], pixels[:, 60:] = (255, 0, 0), (0, 0, 255)
    turned = rotated_jpeg(Image.fromarray(pixels))
    response = post(service, turned, fov="40")
    splats = ply.read(response.content)
    assert np.ptp(splats["y"]) > np.ptp(splats["x"]), "it is higher than wide"
    upper, lower = splats["y"] < 0, splats["y"] > 0
    assert (splats["f_dc_0"][upper] > 1).mean() > 0.9, "red is above"
    assert (splats["f_dc_2"][lower] > 1).mean() > 0.9
    # The program gets whole millimetres of a focal length on film.
    assert float(response.headers["X-Field-Of-View"]) == pytest.approx(40, rel=0.03)


def test_other_formats(service: Service) -> None:
    assert len(post(service, format="splat").content) == 16 * 12 * 32
    magic, version, count = struct.unpack_from(
        "<III", gzip.decompress(post(service, format="spz").content)
    )
    assert (magic, version, count) == (0x5053474E, 2, 16 * 12)


@pytest.mark.parametrize(
    ("option", "value"), [("format", "glb"), ("max_splats", "5000"), ("depth_range", "1,9")]
)
def test_options_that_it_does_not_have(service: Service, option: str, value: str) -> None:
    message = check.error(post(service, PHOTO, **{option: value}), 400, "Invalid option")
    assert option in message


def test_bad_photos(service: Service, installed: Installed) -> None:
    check.error(post(service, b"hello"), 400, "Invalid image")
    check.error(post(service, PHOTO[:300]), 400, "Invalid image")
    assert installed.noted() == []
    assert list(installed.temporary.iterdir()) == []


def test_depth_models_still_make_splats(service: Service, installed: Installed) -> None:
    response = post(service, model="builtin-depth")
    assert response.headers["X-Model-Used"] == "builtin-depth"
    assert len(ply.read(response.content)["x"]) > 16 * 12
    url = service.url("/api/depth?model=sharp")
    refused = requests.post(url, files={"image": ("a.jpg", PHOTO)}, timeout=240)
    assert "builtin-depth" in check.error(refused, 400, "Unknown model")
    assert installed.noted() == []


def test_it_gets_no_secrets(service: Service, installed: Installed) -> None:
    post(service)
    (run,) = installed.noted()
    assert "HF_TOKEN" not in run["environment"]
    assert "MODELS_FILE" not in run["environment"]
    assert "PATH" in run["environment"]
    assert run["folder"].startswith(str(installed.temporary)), "it cannot litter elsewhere"


def test_one_photo_at_a_time(service: Service, installed: Installed) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: post(service), range(4)))
    assert [answer.status_code for answer in answers] == [200] * 4
    times = sorted(installed.noted("ends"))
    assert len(times) == 4
    assert all(end <= begin for (_, end), (begin, _) in pairwise(times))


def test_a_client_that_hangs_up_ends_it(service: Service, installed: Installed) -> None:
    installed.plan("wait")
    with hanging(service):
        wait_for(lambda: installed.noted(), service=service)
        assert list(installed.temporary.iterdir())
    installed.wait_until_gone(service)
    installed.plan("splats")
    assert post(service).status_code == 200


@pytest.mark.parametrize(
    ("what", "logged"),
    [("fail", "the stand-in was told to fail"), ("nonsense", "a PLY of the kind ascii")],
)
def test_its_failures_are_in_the_log(
    service: Service, installed: Installed, what: str, logged: str
) -> None:
    installed.plan(what)
    message = check.error(post(service), 500, "Processing failed")
    assert "sharp" in message
    assert logged in service.text()
    assert str(installed.temporary) not in message
    assert list(installed.temporary.iterdir()) == []


def test_a_worker_that_crashes_takes_it_along(service: Service, installed: Installed) -> None:
    installed.plan("wait")
    with hanging(service):
        wait_for(lambda: installed.noted(), service=service)
        program = psutil.Process(installed.noted()[0]["pids"][0])
        parent = program.parent()
        assert parent is not None
        (alive,) = installed.temporary.glob("*/alive")
        assert (alive.parent / "photo.png").exists()
        os.utime(alive, (1, 1))  # it looks as if it had been there for long
        parent.kill()
        wait_for(lambda: not program.is_running(), service=service)
        wait_for(lambda: list(installed.temporary.iterdir()) == [], service=service)
    installed.plan("splats")
    assert post(service).status_code == 200


def test_model_management(service: Service) -> None:
    listed = check.json(service.get("/api/models"))["models"]
    (sharp,) = [model for model in listed if model["key"] == "sharp"]
    wanted = {"name": "3D splats", "type": "splat", "license": "apple-amlr", "metric": True}
    wanted |= {"is_loaded": True, "is_downloaded": True, "state": "loaded"}
    assert sharp | wanted == sharp
    status = check.json(service.get("/api/splat/status"))
    assert status == {
        "model_key": "sharp",
        "model_name": "SHARP",
        "is_downloaded": True,
        "is_loaded": True,
        "state": "loaded",
    }
    for action in ("load", "unload", "download"):
        done = check.json(service.post(f"/api/models/sharp/{action}", headers=EMPTY))
        assert done["success"] is True
        assert done["message"].startswith("SHARP ")
    assert check.json(service.post("/api/splat/download"))["status"] == "already_downloaded"
    refused = service.delete("/api/models/sharp")
    assert "by hand" in check.error(refused, 500, "Delete failed")
    assert refused.json()["success"] is False
    health = check.json(service.get("/health"))["models"]
    assert {"name": "sharp", "type": "splat", "loaded": True, "state": "loaded"} in health


def test_a_time_limit(built_in: Path, tmp_path: Path) -> None:
    installed = Installed(tmp_path / "sharp")
    installed.plan("wait")
    settings = installed.settings() | {"HF_HUB_CACHE": built_in, "INFERENCE_TIMEOUT_SECONDS": 1}
    with Service(tmp_path / "log", **settings).started() as service:
        service.wait_for("/ready", 200)
        message = check.error(post(service), 504)
        assert "INFERENCE_TIMEOUT_SECONDS" in message
        installed.wait_until_gone(service)


def test_the_device_is_free_for_others_meanwhile(built_in: Path, tmp_path: Path) -> None:
    """Also where nobody may wait for the device."""
    installed = Installed(tmp_path / "sharp")
    installed.plan("wait")
    settings = installed.settings() | {"HF_HUB_CACHE": built_in}
    settings |= {"IMAGE_EMBEDDER_MAX_QUEUE": 0, "IMAGE_EMBEDDER_MAX_WAIT_SECONDS": 0}
    with Service(tmp_path / "log", **settings).started() as service:
        service.wait_for("/ready", 200)
        with hanging(service):
            wait_for(lambda: installed.noted(), service=service)
            url = service.url("/api/depth")
            answer = requests.post(url, files={"image": ("a.jpg", PHOTO)}, timeout=240)
            assert answer.status_code == 200, answer.text


def test_the_end_of_the_service_ends_it(built_in: Path, tmp_path: Path) -> None:
    installed = Installed(tmp_path / "sharp")
    installed.plan("wait")
    settings = installed.settings() | {"HF_HUB_CACHE": built_in}
    with ThreadPoolExecutor(1) as pool, Service(tmp_path / "log", **settings).started() as service:
        service.wait_for("/ready", 200)
        asked = pool.submit(post, service)
        wait_for(lambda: installed.noted(), service=service)
        service.stop()
        check.error(asked.result(), 503, "Shutting down")
        pids = [pid for run in installed.noted() for pid in run["pids"]]
        wait_for(lambda: not any(map(psutil.pid_exists, pids)))
        assert list(installed.temporary.iterdir()) == []


@pytest.mark.parametrize("lacks", ["program", "checkpoint"])
def test_what_is_missing_is_said(service: Service, installed: Installed, lacks: str) -> None:
    missing = installed.programs / "sharp" if lacks == "program" else installed.checkpoint
    elsewhere = missing.rename(missing.with_name("elsewhere"))
    try:
        status = check.json(service.get("/api/splat/status"))
        assert (status["state"], status["is_downloaded"]) == ("unavailable", False)
        assert "https://github.com/apple/ml-sharp" in status["reason"]
        assert str(missing.parent) not in status["reason"]
        models = check.json(service.get("/health"))["models"]
        (sharp,) = [model for model in models if model["name"] == "sharp"]
        assert (sharp["state"], sharp["reason"]) == ("unavailable", status["reason"])
        refused = post(service)
        check.error(refused, 503, "Model not available")
        assert refused.json()["reason"] == status["reason"]
        for path in ("/api/models/sharp/load", "/api/splat/download"):
            failed = service.post(path, headers=EMPTY)
            assert status["reason"] in check.error(failed, 500)
        assert post(service, model="builtin-depth").status_code == 200
    finally:
        elsewhere.rename(missing)
