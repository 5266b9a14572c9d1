# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests engines in the running service: the first start converts models.

Later starts need neither torch nor the network.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks.service import PROJECT, Service
from tests.pictures import encoded, picture

SMALL = encoded(picture(120, 90))


def without_conversions(hub: Path, target: Path) -> Path:
    """Copy the cache without conversions, as it is after a download."""
    shutil.copytree(hub, target, symlinks=True, ignore=shutil.ignore_patterns("twinlens"))
    return target


def states(service: Service) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in service.get("/health").json()["models"]}


def ask(service: Service) -> list[int]:
    files = {"image": ("a.png", SMALL)}
    return [service.post(path, files=files).status_code for path in ("/api/depth", "/embed-image")]


def test_the_first_start_converts_once_and_answers_meanwhile(hub: Path, tmp_path: Path) -> None:
    cache = without_conversions(hub, tmp_path / "hub")
    service = Service(tmp_path / "log", HF_HUB_CACHE=cache, HF_HUB_OFFLINE=1, WEB_CONCURRENCY=2)
    with service.started():
        health = service.wait_for("/health", 200).json()
        assert {model["state"] for model in health["models"]} <= {"loading", "not_loaded"}
        assert health["engine"] == "openvino"
        service.wait_until_ready()
        assert ask(service) == [200, 200]
    text = service.text()
    for key in ("small", "ViT-L-14"):
        assert text.count(f"{key} is converted for OpenVINO; this happens once") == 1
    assert "Traceback" not in text
    again = Service(tmp_path / "again", HF_HUB_CACHE=cache, HF_HUB_OFFLINE=1)
    with again.started():
        again.wait_until_ready()
        assert ask(again) == [200, 200]
    assert "is converted" not in again.text()


def test_a_damaged_conversion_is_made_anew(hub: Path, tmp_path: Path) -> None:
    cache = tmp_path / "hub"
    shutil.copytree(hub, cache, symlinks=True)
    for weights in cache.glob("*Small-hf/twinlens/*/model.bin"):
        weights.write_bytes(weights.read_bytes()[:-100])
    service = Service(
        tmp_path / "log", HF_HUB_CACHE=cache, HF_HUB_OFFLINE=1, ENABLED_FAMILIES="depth"
    )
    with service.started():
        service.wait_until_ready()
        answer = service.post("/api/depth", files={"image": ("a.png", SMALL)})
        assert answer.status_code == 200
    assert service.text().count("small is converted for OpenVINO") == 1


def test_a_conversion_ends_with_its_service(hub: Path, tmp_path: Path) -> None:
    cache = without_conversions(hub, tmp_path / "hub")
    service = Service(
        tmp_path / "log", HF_HUB_CACHE=cache, HF_HUB_OFFLINE=1, ENABLED_FAMILIES="depth"
    )

    def converting() -> list[psutil.Process]:
        return [
            process
            for process in psutil.process_iter(["cmdline"])
            if "app.engines.openvino.conversion_process" in (process.info["cmdline"] or [])
            and str(cache) in " ".join(process.info["cmdline"])
        ]

    with service.started():
        while not converting():
            assert service.process.poll() is None, service.text()
        (worker,) = service.workers()
        process = converting()[0]
        service.process.kill()
        worker.kill()
        process.wait(60)
    with service.started():  # the next start finds no remains of the killed one
        service.wait_until_ready()
        assert not list(cache.glob("*/twinlens/tmp*"))


def test_with_no_network_at_all_nobody_is_called(hub: Path, tmp_path: Path) -> None:
    """The service calls nobody, even if its network namespace has nothing but a loopback interface.

    Its models are converted already.
    """
    command = ["unshare", "--map-root-user", "--net", sys.executable, "-m", "tests.process.offline"]
    done = subprocess.run(
        [*command, str(hub), str(tmp_path)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["answers"] == [200, 200, 200]
    calls = found["calls"].splitlines()
    assert [call for call in calls if "'app.decoding.template'" not in call] == []
    assert len(calls) == 2, "each worker starts what its decoders are forked from"
    assert found["processes"] == 3, "a master and two workers, and nothing else"
    assert found["decoding"] >= 2, "but each worker's decoding processes, which call nobody either"
    # All sockets are those on which the service listens or answers the test.
    assert all(ours for _, ours in found["sockets"])
    assert found["torch"] == []


@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_health_names_engine_and_precision(
    start: Callable[..., Service], hub: Path, engine: str
) -> None:
    service = start(HF_HUB_CACHE=hub, ENGINE=engine, PRECISION="fp32", ENABLED_FAMILIES="depth")
    health = service.get("/health").json()
    assert (health["engine"], health["precision"]) == (engine, "fp32")
    small = states(service)["small"]
    assert (small["engine"], small["precision"]) == (engine, "fp32")
    answer = service.post("/api/depth", files={"image": ("a.png", SMALL)})
    stages = [each.split(";dur=") for each in answer.headers["Server-Timing"].split(", ")]
    assert [name for name, _ in stages] == [
        "decode", "prepare", "wait", "infer", "finish", "encode",
    ]  # fmt: skip
    assert all(float(milliseconds) >= 0 for _, milliseconds in stages)


def test_a_device_that_is_not_there_is_named(start: Callable[..., Service], hub: Path) -> None:
    service = start(HF_HUB_CACHE=hub, DEVICE="openvino:GPU.7", ready=False)
    service.wait_for("/ready", 503)
    reason = "DEVICE=openvino:GPU.7, but this machine has no such device"
    while service.get("/ready").json()["reason"] != reason:
        assert service.process.poll() is None
    assert service.get("/health").status_code == 200
