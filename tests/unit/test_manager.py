# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests the manager, which loads each model once, lends it, and knows its state."""

from __future__ import annotations

import os
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.engines.base import FloatArray, InputArray, LoadError, Network
from app.errors import NotAvailable
from app.host import memory
from app.hub.downloads import Downloads
from app.hub.store import Checkpoint
from app.lending import manager as manager_module
from app.lending.loaded import LoadedNetwork
from app.lending.loader import Loader
from app.lending.manager import Manager
from app.lending.registry import networks_of
from app.models.base import NetworkId, describe_checkpoint
from benchmarks.models import first_network
from config.models import ModelSpec
from config.settings import Settings


class Nothing(Network):
    """A network that answers immediately, with zeros."""

    engine = "torch"

    def suits(self, device: str) -> bool:
        return True

    def to_device(self, device: str) -> None:
        self.device = device

    def infer(self, batch: InputArray) -> FloatArray:
        return np.zeros((len(batch), 1), np.float32)


class SlowLoader(Loader):
    """Loads when it may, counts its loads, and fails if ``failure`` is set."""

    go = threading.Event()
    loads = 0
    failure: str | None = None

    def preload(self, id: NetworkId, checkpoint: Checkpoint) -> LoadedNetwork:
        return self.load(id, checkpoint, "cpu")

    def load(self, id: NetworkId, checkpoint: Checkpoint, device: str) -> LoadedNetwork:
        assert SlowLoader.go.wait(60)
        SlowLoader.loads += 1
        if SlowLoader.failure:
            raise LoadError(SlowLoader.failure)
        family = describe_checkpoint(id.spec, checkpoint)
        return LoadedNetwork(family, id, Nothing(), family.weights())

    def size(self, id: NetworkId, checkpoint: Checkpoint) -> int:
        return 100 * 2**20


def loader(kind: type[Loader], device: str = "cpu") -> Loader:
    return kind.make("torch", "auto", device, threads=1, life=0)


def networks(specs: tuple[ModelSpec, ...]) -> list[NetworkId]:
    return [network for spec in specs for network in networks_of(spec)]


@pytest.fixture
def specs(settings: Settings) -> tuple[ModelSpec, ...]:
    rows = {spec.key: spec for spec in settings.table().model}
    return tuple(rows[key] for key in ("small", "base", "large", "ViT-L-14", "ViT-B-16"))


@pytest.fixture
def manager(
    hub: Path, tmp_path: Path, specs: tuple[ModelSpec, ...], monkeypatch: pytest.MonkeyPatch
) -> Manager:
    SlowLoader.loads, SlowLoader.failure = 0, None
    SlowLoader.go.set()
    downloads = Downloads(hub, tmp_path, offline=True, life=os.pipe())
    return Manager(networks(specs), downloads, loader(SlowLoader))


def test_many_callers_one_load(manager: Manager, specs: tuple[ModelSpec, ...]) -> None:
    seen: list[Any] = []

    def caller() -> None:
        with manager.lease(first_network(specs[0])) as model:
            seen.append(model)

    SlowLoader.go.clear()
    threads = [threading.Thread(target=caller) for _ in range(8)]
    for thread in threads:
        thread.start()
    while manager.status(specs[0]).state == "not_loaded":
        time.sleep(0.001)
    assert manager.status(specs[0]).state == "loading"
    SlowLoader.go.set()
    for thread in threads:
        thread.join()
    assert SlowLoader.loads == 1
    assert len({id(model) for model in seen}) == 1
    assert manager.status(specs[0]).state == "loaded"
    assert manager.status(specs[1]).state == "not_loaded"


def test_a_preloaded_model_is_not_loaded_again(
    manager: Manager, specs: tuple[ModelSpec, ...]
) -> None:
    manager.preload(first_network(specs[0]))
    assert manager.status(specs[0]).state == "not_loaded", "in the master it is only host memory"
    with manager.lease(first_network(specs[0])):
        pass
    assert SlowLoader.loads == 1


def test_an_unload_leaves_nothing_behind(manager: Manager, specs: tuple[ModelSpec, ...]) -> None:
    with manager.lease(first_network(specs[0])) as model:
        kept = weakref.ref(model)
    del model
    manager.unload(first_network(specs[0]))
    assert kept() is None


def test_a_failure_is_remembered_for_a_while(
    manager: Manager, specs: tuple[ModelSpec, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    SlowLoader.failure = "it is broken"
    manager.preload(first_network(specs[3]))
    status = manager.status(specs[3])
    assert (status.state, status.reason) == ("unavailable", "it is broken")
    with (
        pytest.raises(NotAvailable, match="it is broken") as error,
        manager.lease(first_network(specs[3])),
    ):
        pass
    assert error.value.retry_after
    assert SlowLoader.loads == 1
    SlowLoader.failure = None
    monkeypatch.setattr(manager_module, "_REMEMBER_FAILURE_SECONDS", 0)
    with manager.lease(first_network(specs[3])):
        assert manager.status(specs[3]).state == "loaded"


def test_what_is_not_on_disk_says_so(tmp_path: Path, specs: tuple[ModelSpec, ...]) -> None:
    downloads = Downloads(tmp_path, tmp_path, offline=True, life=os.pipe())
    manager = Manager(networks(specs), downloads, loader(Loader))
    assert manager.status(specs[0]).state == "not_loaded"
    with (
        pytest.raises(NotAvailable, match="Depth estimation model is not available"),
        manager.lease(first_network(specs[0])),
    ):
        pass
    status = manager.status(specs[0])
    assert status.state == "unavailable"
    assert status.reason is not None
    assert status.reason.startswith("not on disk and cannot be downloaded: HF_HUB_OFFLINE is set")
    assert "python -m app download small --output DIR" in status.reason


def test_a_device_that_is_not_there(
    hub: Path, tmp_path: Path, specs: tuple[ModelSpec, ...]
) -> None:
    downloads = Downloads(hub, tmp_path, offline=True, life=os.pipe())
    manager = Manager(networks(specs), downloads, loader(Loader, "cuda:7"))
    with pytest.raises(NotAvailable), manager.lease(first_network(specs[0])):
        pass
    assert manager.status(specs[0]).reason == "DEVICE=cuda:7, but this machine has no such device"


def test_idle_models_make_room_the_least_recently_used_first(
    manager: Manager, specs: tuple[ModelSpec, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each model takes 100 MB, and 256 MB more must be free for its inference."""
    total = 600 * 2**20

    def free(_: str) -> int:
        return total - sum(manager.is_loaded(first_network(spec)) for spec in specs) * 100 * 2**20

    monkeypatch.setattr(memory, "free", free)
    evicted: list[str] = []
    manager.on_evict = lambda id: evicted.append(id.spec.key)
    for spec in specs[:3]:
        with manager.lease(first_network(spec)):
            pass
    with (
        manager.lease(first_network(specs[0])),
        manager.lease(first_network(specs[3])),
    ):  # the first model is in use, the second is idle
        assert evicted == ["base"]
    with manager.lease(first_network(specs[4])):
        assert evicted == ["base", "large"]
    total = 300 * 2**20
    manager.load(first_network(specs[0]))  # it is loaded already, so nothing is evicted for it
    with (
        pytest.raises(NotAvailable, match="needs 356 MB of memory and 300 MB are free") as error,
        manager.lease(first_network(specs[1])),
    ):
        pass
    assert error.value.status == 503
    assert not any(manager.is_loaded(first_network(spec)) for spec in specs)


def test_a_model_in_use_is_not_evicted(
    manager: Manager, specs: tuple[ModelSpec, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    with manager.lease(first_network(specs[0])):
        monkeypatch.setattr(memory, "free", lambda _: 0)
        with (
            pytest.raises(NotAvailable, match="0 MB are free"),
            manager.lease(first_network(specs[1])),
        ):
            pass
        assert manager.is_loaded(first_network(specs[0]))
