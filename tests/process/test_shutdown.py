# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests shutdown by SIGTERM, and the replacement of workers while requests arrive."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import requests

from benchmarks.service import Service
from tests.contract import check
from tests.films.small import film
from tests.process.conftest import SMALL, Faulty, Stream, reload
from tests.waiting import wait_for


@pytest.mark.parametrize("workers", [1, 2])
def test_sigterm_finishes_what_runs_and_refuses_the_rest(
    start_faulty: Callable[..., Faulty], workers: int
) -> None:
    ending = start_faulty(WEB_CONCURRENCY=workers)
    kept = requests.Session()
    assert kept.get(ending.service.url("/models"), timeout=240).status_code == 200
    ending.plan("slow", 60)
    before = len(ending.inferences())
    asked = [ending.ask("/api/depth") for _ in range(10)]
    ending.wait_for(lambda: len(ending.inferences()) == before + workers)
    ending.wait_for(lambda: ending.queue()["in_flight"] + ending.queue()["waiting"] >= 9)
    processes = psutil.Process(ending.service.pid).children()
    os.kill(ending.service.pid, signal.SIGTERM)
    # Queued requests are refused immediately, long before the running ones are done.
    ending.wait_for(lambda: sum(each.done() for each in asked) >= 7)
    late = kept.post(
        ending.service.url("/embed-image"), files={"image": ("a.png", SMALL)}, timeout=240
    )
    check.error(late, 503, "Shutting down")
    assert not all(each.done() for each in asked)
    ending.heal("slow")
    answers = [each.result() for each in asked]
    codes = [answer.status_code for answer in answers]
    assert set(codes) == {200, 503}
    assert codes.count(200) >= workers
    for answer in answers:
        if answer.status_code == 503:
            check.error(answer, 503, "Shutting down")
            assert int(answer.headers["Retry-After"]) > 0
    assert ending.service.process.wait(60) == 0
    kept.close()
    assert not any(process.is_running() for process in processes)
    assert "Traceback" not in ending.service.text()


def test_what_runs_too_long_at_shutdown_is_told(start_faulty: Callable[..., Faulty]) -> None:
    ending = start_faulty(SHUTDOWN_TIMEOUT_SECONDS=3, ENABLED_FAMILIES="depth")
    ending.plan("hang")
    asked = ending.ask("/api/depth")
    ending.wait_for_queue(1, 0)
    os.kill(ending.service.pid, signal.SIGTERM)
    check.error(asked.result(), 503, "Shutting down")
    assert ending.service.process.wait(60) == 0


@pytest.mark.parametrize("reads", [True, False])
def test_a_film_that_is_being_sent_breaks_off_visibly(
    built_in: Path, tmp_path: Path, reads: bool
) -> None:
    """That holds also for a client that has stopped reading; nothing is left of the film."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    service = Service(
        tmp_path / "log",
        TMPDIR=temporary,
        HF_HUB_CACHE=built_in,
        HF_HUB_OFFLINE=1,
        DEPTH_MODEL="builtin-depth",
        ENABLED_FAMILIES="depth",
        SHUTDOWN_TIMEOUT_SECONDS=5,
    )
    with service.started():
        service.wait_for("/ready", 200)
        url = service.url("/api/video/depth?output_format=mkv")
        files = {"video": ("a.mp4", film(300, (640, 480)))}  # more than the connection holds
        with requests.post(url, files=files, stream=True, timeout=240) as answer:
            assert answer.status_code == 200
            parts = answer.iter_content(1000)
            next(parts)
            processes = psutil.Process(service.pid).children(recursive=True)
            commands = [each.as_dict(["cmdline"])["cmdline"] or [] for each in processes]
            assert any("app.video.process" in command for command in commands)
            os.kill(service.pid, signal.SIGTERM)
            if not reads:
                assert service.process.wait(60) == 0
            with pytest.raises(
                (requests.exceptions.ChunkedEncodingError, requests.ConnectionError)
            ):
                for _ in parts:
                    pass
        assert service.process.wait(60) == 0
    wait_for(lambda: not any(process.is_running() for process in processes))
    assert list(temporary.iterdir()) == []


def loaded(faulty: Faulty) -> list[str]:
    models = faulty.service.get("/api/models?type=all").json()["models"]
    return [model["key"] for model in models if model["is_loaded"] and model["type"] != "splat"]


@pytest.fixture(scope="module")
def reloading(
    start_faulty: Callable[..., Faulty], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Faulty, Path]:
    config = tmp_path_factory.mktemp("config") / "twinlens.toml"
    config.write_text('DEPTH_MODEL = "small"\n')
    return start_faulty(WEB_CONCURRENCY=2, CONFIG_FILE=config), config


def test_sighup_changes_settings_without_refusing_a_request(
    reloading: tuple[Faulty, Path],
) -> None:
    faulty, config = reloading
    faulty.plan("slow", 0.1)  # makes sure that some requests are always queued
    with Stream(faulty) as stream:
        faulty.wait_for(lambda: stream.done > 20)
        config.write_text('DEPTH_MODEL = "base"\nEMBED_BATCH_API_MAX_ITEMS = 1\n')
        reload(faulty)
        done = stream.done
        faulty.wait_for(lambda: stream.done > done + 20)
    faulty.heal("slow")
    assert stream.wrong == []
    assert faulty.ask("/api/depth").result().headers["X-Model-Used"] == "base"
    assert faulty.service.get("/api/models").json()["default_model"] == "base"
    items = [{"image_base64": "x"}] * 2
    assert faulty.service.post("/embed-batch", json={"items": items}).status_code == 413
    health = faulty.service.get("/health").json()
    faulty.wait_for(lambda: faulty.service.get("/health").json()["model_status"] == "loaded")
    assert health["workers"] == 2
    faulty.service.wait_until_ready()
    # The new model was mapped in the master, before the fork.
    lines = faulty.service.text().splitlines()
    mapped = {int(line.split()[3]) for line in lines if "base (random weights) mapped" in line}
    assert faulty.service.pid in mapped
    assert not mapped & {worker.pid for worker in faulty.service.workers()}


def test_a_reload_may_change_the_engine(reloading: tuple[Faulty, Path]) -> None:
    faulty, config = reloading

    def running() -> tuple[str, str]:
        health = faulty.service.get("/health").json()
        return health["engine"], health["precision"]

    before = config.read_text()
    config.write_text(f'{before}ENGINE = "torch"\nPRECISION = "fp32"\n')
    reload(faulty)
    faulty.wait_for(lambda: running() == ("torch", "fp32"))
    assert faulty.ask("/api/depth").result().status_code == 200
    config.write_text(before)
    reload(faulty)
    faulty.wait_for(lambda: running()[0] == "openvino")


def test_a_reload_keeps_what_users_chose(reloading: tuple[Faulty, Path]) -> None:
    faulty, config = reloading
    assert faulty.service.post("/api/models/small/load").status_code == 200
    config.write_text('DEPTH_MODEL = "large"\n')
    reload(faulty)
    faulty.wait_for(lambda: faulty.service.get("/api/models/current").json()["loaded"])
    assert faulty.service.get("/api/models/current").json()["current_model"] == "small"
    faulty.service.post("/api/models/small/unload")
    assert faulty.ask("/api/depth").result().headers["X-Model-Used"] == "large"
    config.write_text('DEPTH_MODEL = "base"\n')
    reload(faulty)
    # The former default is not needed any more.
    faulty.wait_for(lambda: loaded(faulty) == ["base", "ViT-L-14"])
    reports = list(Path("/dev/shm").glob("twinlens-*/report-*.json"))
    assert len(reports) >= 2, "each worker has a place of its own"


def test_a_file_with_a_mistake_changes_nothing(reloading: tuple[Faulty, Path]) -> None:
    faulty, config = reloading
    config.write_text('DEPTH_MODEL = "huge"\nLOG_LEVEL = "LOUD"\n')
    reload(faulty)
    assert "the running settings stay in force" in faulty.service.text()
    assert "DEPTH_MODEL='huge': allowed: small, base, large" in faulty.service.text()
    assert "LOG_LEVEL='LOUD'" in faulty.service.text()
    assert faulty.service.get("/api/models").json()["default_model"] == "base"
    assert faulty.ask("/api/depth").result().headers["X-Model-Used"] == "base"


def test_sigterm_in_the_middle_of_a_reload(start_faulty: Callable[..., Faulty]) -> None:
    """A shutdown begins although a reload is under way.

    gunicorn by itself would not react until the old worker has ended.
    """
    ending = start_faulty(ENABLED_FAMILIES="depth")
    ending.plan("slow", 60)
    before = len(ending.inferences())
    asked = [ending.ask("/api/depth") for _ in range(8)]
    ending.wait_for(lambda: len(ending.inferences()) == before + 1)
    os.kill(ending.service.pid, signal.SIGHUP)
    ending.wait_for(lambda: len(ending.service.workers()) == 2)
    os.kill(ending.service.pid, signal.SIGTERM)
    ending.wait_for(lambda: sum(each.done() for each in asked) >= 6)
    ending.heal("slow")
    codes = [each.result().status_code for each in asked]
    assert codes.count(503) >= 6
    assert 200 in codes
    assert ending.service.process.wait(60) == 0


def test_sigterm_while_it_starts(hub: Path, tmp_path: Path) -> None:
    service = Service(tmp_path / "log", HF_HUB_CACHE=hub, HF_HUB_OFFLINE=1)
    with service.started():
        wait_for(lambda: " mapped for " in service.text(), service=service)
        os.kill(service.pid, signal.SIGTERM)
        assert service.process.wait(60) == 0
    assert "Traceback" not in service.text()


def test_ports_and_workers_need_a_restart(reloading: tuple[Faulty, Path]) -> None:
    faulty, config = reloading
    config.write_text("WEB_CONCURRENCY = 1\n")
    # The environment takes precedence over the file, so the number of workers does not change.
    reload(faulty)
    assert len(faulty.service.workers()) == 2


def test_recycled_workers_drop_nothing(start_faulty: Callable[..., Faulty]) -> None:
    """Workers are recycled by gunicorn's own setting, as an operator would give it."""
    faulty = start_faulty(WEB_CONCURRENCY=2, GUNICORN_CMD_ARGS="--max-requests 15")
    with Stream(faulty) as stream:
        faulty.wait_for(lambda: stream.done > 150)
    assert stream.wrong == []
    assert faulty.service.text().count("Autorestarting worker") >= 5
