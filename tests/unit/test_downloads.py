# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests downloads with the real hub client and download process, from a fake hub."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import torch

from app.hub.checkpoint_files import CheckpointFiles
from app.hub.downloads import DownloadFailed, Downloads
from app.models.depth_anything import DepthAnything
from benchmarks.checkpoints.hub_cache import Repository
from config.models import ModelSpec
from config.settings import Settings
from tests.fake_hub import FakeHub
from tests.waiting import wait_for

FILES = CheckpointFiles(DepthAnything.FILES)


@pytest.fixture
def fake_hub(hub: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with FakeHub(hub).running() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.endpoint)
        yield running


@pytest.fixture
def make_downloads(tmp_path: Path) -> Iterator[Callable[[], Downloads]]:
    """Yield a function; each call stands for a new start of the service with the same cache."""
    made: list[Downloads] = []

    def make() -> Downloads:
        folder = tmp_path / f"service-{len(made)}"
        folder.mkdir()
        made.append(Downloads(tmp_path / "cache", folder, offline=False, life=os.pipe()))
        return made[-1]

    yield make
    for process in processes(tmp_path):
        with suppress(psutil.NoSuchProcess):  # it has just ended
            process.kill()


@pytest.fixture
def spec(settings: Settings) -> ModelSpec:
    return settings.table().model[0]


def processes(folder: Path) -> list[psutil.Process]:
    """Return the download processes of all services in a folder, even of those that have ended."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if "app.hub.download_process" in (command := process.info["cmdline"] or [])
        and any(Path(word).is_relative_to(folder) for word in command)
    ]


def test_a_checkpoint_arrives_whole(
    fake_hub: FakeHub, make_downloads: Callable[[], Downloads], spec: ModelSpec, hub: Path
) -> None:
    downloads = make_downloads()
    assert downloads.find_checkpoint(spec, FILES) is None
    checkpoint = downloads.wait(spec, FILES)
    original = hub / checkpoint.path.relative_to(checkpoint.path.parents[2])
    for name in FILES.required:
        assert (checkpoint.path / name).read_bytes() == (original / name).read_bytes()
    wait_for(lambda: downloads.state(spec) is None)


def test_it_goes_on_after_a_restart_where_it_stopped(
    fake_hub: FakeHub,
    make_downloads: Callable[[], Downloads],
    spec: ModelSpec,
    tmp_path: Path,
) -> None:
    weights = {"w": torch.rand(6_000_000, generator=torch.Generator().manual_seed(1))}
    small = dict.fromkeys(FILES.required[:2], "{}")
    assert spec.hub_id is not None
    Repository(spec.hub_id, small, FILES.required[2], weights).write(tmp_path / "hub")
    fake_hub.cache = tmp_path / "hub"
    before = make_downloads()
    fake_hub.stall_at = 23_000_000
    before.request(spec, FILES)
    written = 20 * 2**20  # the hub client writes in pieces of 10 MiB
    wait_for(lambda: (state := before.state(spec)) and state.downloaded_bytes >= written)
    state = before.state(spec)
    assert state is not None
    assert (state.state, state.file) == ("downloading", FILES.required[2])
    assert state.total_bytes > 24_000_000
    for process in processes(tmp_path):
        process.send_signal(signal.SIGKILL)
    fake_hub.stall_at = None
    make_downloads().wait(spec, FILES)
    assert fake_hub.ranges == [f"bytes={written}-"]


def test_a_process_that_died_is_noticed_and_replaced(
    fake_hub: FakeHub, make_downloads: Callable[[], Downloads], spec: ModelSpec, tmp_path: Path
) -> None:
    downloads = make_downloads()
    fake_hub.stall_at = 1000
    downloads.request(spec, FILES)
    wait_for(lambda: "model.safetensors" in fake_hub.gets)
    processes(tmp_path)[0].kill()
    wait_for(lambda: (state := downloads.state(spec)) and state.state == "failed")
    fake_hub.stall_at = None
    downloads.ensure_running()
    wait_for(lambda: downloads.find_checkpoint(spec, FILES))


def test_asking_often_costs_one_process(
    fake_hub: FakeHub, make_downloads: Callable[[], Downloads], spec: ModelSpec, tmp_path: Path
) -> None:
    downloads = make_downloads()
    fake_hub.stall_at = 1000
    pids = set()
    for _ in range(50):
        downloads.request(spec, FILES)
        pids |= {process.pid for process in processes(tmp_path)}
        time.sleep(0.02)
    assert len(pids) == 1


def test_failures_are_retried_without_being_asked(
    fake_hub: FakeHub, make_downloads: Callable[[], Downloads], spec: ModelSpec
) -> None:
    downloads = make_downloads()
    fake_hub.refuse = 1
    with pytest.raises(DownloadFailed, match="the hub answered 503"):
        downloads.wait(spec, FILES)
    state = downloads.state(spec)
    assert state is not None
    assert state.retry_at is not None
    wait_for(lambda: downloads.find_checkpoint(spec, FILES))


def test_asking_again_does_not_wait_for_the_pause(
    fake_hub: FakeHub, make_downloads: Callable[[], Downloads], spec: ModelSpec
) -> None:
    downloads = make_downloads()
    fake_hub.refuse = 1
    with pytest.raises(DownloadFailed):
        downloads.wait(spec, FILES)
    state = downloads.state(spec)
    assert state is not None
    downloads.wait(spec, FILES)
    assert time.monotonic() < (state.retry_at or 0)


def test_damaged_bytes_are_thrown_away(
    fake_hub: FakeHub, make_downloads: Callable[[], Downloads], spec: ModelSpec, tmp_path: Path
) -> None:
    downloads = make_downloads()
    fake_hub.garble = True
    with pytest.raises(DownloadFailed, match="arrived damaged"):
        downloads.wait(spec, FILES)
    assert not list(tmp_path.rglob("*.twinlens-partial"))
    fake_hub.garble = False
    assert downloads.wait(spec, FILES)


def test_a_pinned_checksum_is_held(
    fake_hub: FakeHub, make_downloads: Callable[[], Downloads], spec: ModelSpec
) -> None:
    pinned = spec.model_copy(update={"sha256": "0" * 64})
    with pytest.raises(DownloadFailed, match="not the one that the table of models pins"):
        make_downloads().wait(pinned, FILES)


def test_one_process_serves_everybody_and_ends(
    fake_hub: FakeHub, make_downloads: Callable[[], Downloads], settings: Settings, tmp_path: Path
) -> None:
    downloads = make_downloads()
    fake_hub.stall_at = 1000
    specs = settings.table().model[:3]
    for spec in specs:
        downloads.request(spec, FILES)
    wait_for(lambda: any(downloads.state(spec) for spec in specs))
    wait_for(lambda: len(processes(tmp_path)) == 1)
    fake_hub.stall_at = None
    wait_for(lambda: all(downloads.find_checkpoint(spec, FILES) for spec in specs))
    wait_for(lambda: not processes(tmp_path))


def test_an_unknown_repository_and_a_silent_hub_have_names(
    fake_hub: FakeHub,
    make_downloads: Callable[[], Downloads],
    spec: ModelSpec,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unknown = spec.model_copy(update={"hub_id": "no-one/nothing"})
    with pytest.raises(DownloadFailed, match="does not know this repository"):
        make_downloads().wait(unknown, FILES)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(DownloadFailed, match="the hub cannot be reached"):
        make_downloads().wait(spec, FILES)


def test_a_wait_ends_when_the_model_is_deleted(
    fake_hub: FakeHub, make_downloads: Callable[[], Downloads], spec: ModelSpec
) -> None:
    downloads = make_downloads()
    fake_hub.stall_at = 1000
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(downloads.wait, spec, FILES)
        wait_for(lambda: "model.safetensors" in fake_hub.gets)
        downloads._path(spec, "request").unlink()
        with pytest.raises(DownloadFailed, match="deleted meanwhile"):
            waiting.result(60)


def test_offline_starts_nothing(tmp_path: Path, spec: ModelSpec) -> None:
    downloads = Downloads(tmp_path / "cache", tmp_path, offline=True, life=os.pipe())
    with pytest.raises(DownloadFailed, match="HF_HUB_OFFLINE is set"):
        downloads.wait(spec, FILES)
    assert not processes(tmp_path)


def test_the_process_ends_with_the_service(
    fake_hub: FakeHub, make_downloads: Callable[[], Downloads], spec: ModelSpec, tmp_path: Path
) -> None:
    fake_hub.stall_at = 1000
    service = os.fork()
    if service == 0:  # this child acts as a service that ends during a download
        downloads = make_downloads()
        downloads.request(spec, FILES)
        wait_for(lambda: downloads.state(spec))
        os._exit(0)
    os.waitpid(service, 0)
    wait_for(lambda: not processes(tmp_path))


def test_a_clock_that_is_set_back_delays_nothing(
    fake_hub: FakeHub,
    make_downloads: Callable[[], Downloads],
    spec: ModelSpec,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    downloads = make_downloads()
    fake_hub.refuse = 1
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 3600)  # changes only this process's clock
    with pytest.raises(DownloadFailed, match="the hub answered 503"):
        downloads.wait(spec, FILES)
