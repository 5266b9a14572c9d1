# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The manager: loads once, lends, and knows the state of each model."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

from app import memory
from app.errors import NotAvailable
from app.models import manager as manager_module
from app.models.base import FloatArray, LoadError, Model
from app.models.downloads import Downloads
from app.models.manager import Manager
from app.models.store import Checkpoint
from config.models import ModelSpec
from config.settings import Settings


class SlowModel(Model):
    """Takes a moment to load, counts how often, fails on request."""

    FILES = ()
    loads = 0
    failure: str | None = None

    @classmethod
    def import_engine(cls) -> None:
        pass

    @classmethod
    def load(cls, spec: ModelSpec, checkpoint: Checkpoint) -> Self:
        time.sleep(0.1)
        SlowModel.loads += 1
        if SlowModel.failure:
            raise LoadError(SlowModel.failure)
        return cls(spec, checkpoint, "published")

    @classmethod
    def size(cls, checkpoint: Checkpoint) -> int:
        return 100 * 2**20

    def to_device(self, device: str) -> None:
        pass

    def warm_up(self) -> None:
        pass

    def infer(self, batch: FloatArray) -> FloatArray:
        return np.zeros(1, np.float32)


@pytest.fixture
def specs(settings: Settings) -> tuple[ModelSpec, ...]:
    return settings.table().model


@pytest.fixture
def manager(
    hub: Path, tmp_path: Path, specs: tuple[ModelSpec, ...], monkeypatch: pytest.MonkeyPatch
) -> Manager:
    SlowModel.loads, SlowModel.failure = 0, None
    monkeypatch.setattr(manager_module, "FAMILIES", {"depth": SlowModel, "embedding": SlowModel})
    return Manager(specs, Downloads(hub, tmp_path, offline=True, life=os.pipe()), "cpu")


def test_many_callers_one_load(manager: Manager, specs: tuple[ModelSpec, ...]) -> None:
    seen: list[Any] = []

    def caller() -> None:
        with manager.lease(specs[0]) as model:
            seen.append(model)

    threads = [threading.Thread(target=caller) for _ in range(8)]
    for thread in threads:
        thread.start()
    while manager.status(specs[0]).state == "not_loaded":
        time.sleep(0.001)
    assert manager.status(specs[0]).state == "loading"
    for thread in threads:
        thread.join()
    assert SlowModel.loads == 1
    assert len({id(model) for model in seen}) == 1
    assert manager.status(specs[0]).state == "loaded"
    assert manager.status(specs[1]).state == "not_loaded"


def test_a_preloaded_model_is_not_loaded_again(
    manager: Manager, specs: tuple[ModelSpec, ...]
) -> None:
    manager.preload(specs[0])
    assert manager.status(specs[0]).state == "not_loaded", "in the master it is only host memory"
    with manager.lease(specs[0]):
        pass
    assert SlowModel.loads == 1


def test_a_failure_is_remembered_for_a_while(
    manager: Manager, specs: tuple[ModelSpec, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    SlowModel.failure = "it is broken"
    manager.preload(specs[3])
    status = manager.status(specs[3])
    assert (status.state, status.reason) == ("unavailable", "it is broken")
    with pytest.raises(NotAvailable, match="it is broken") as error, manager.lease(specs[3]):
        pass
    assert error.value.retry_after
    assert SlowModel.loads == 1
    SlowModel.failure = None
    monkeypatch.setattr(manager_module, "_REMEMBER_FAILURE_SECONDS", 0)
    with manager.lease(specs[3]):
        assert manager.status(specs[3]).state == "loaded"


def test_what_is_not_on_disk_says_so(tmp_path: Path, specs: tuple[ModelSpec, ...]) -> None:
    manager = Manager(specs, Downloads(tmp_path, tmp_path, offline=True, life=os.pipe()), "cpu")
    assert manager.status(specs[0]).state == "not_loaded"
    with (
        pytest.raises(NotAvailable, match="Depth estimation model is not available"),
        manager.lease(specs[0]),
    ):
        pass
    status = manager.status(specs[0])
    assert status.state == "unavailable"
    assert status.reason == "not on disk and cannot be downloaded: HF_HUB_OFFLINE is set"


def test_a_device_that_is_not_there(
    hub: Path, tmp_path: Path, specs: tuple[ModelSpec, ...]
) -> None:
    manager = Manager(specs, Downloads(hub, tmp_path, offline=True, life=os.pipe()), "cuda:7")
    with pytest.raises(NotAvailable), manager.lease(specs[0]):
        pass
    assert manager.status(specs[0]).reason == "DEVICE=cuda:7, but this machine has no such device"


def test_idle_models_make_room_the_least_recently_used_first(
    manager: Manager, specs: tuple[ModelSpec, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each takes 100 MB, and 256 MB are wanted beside it for its work."""
    total = 600 * 2**20

    def free(_: str) -> int:
        return total - sum(manager.is_loaded(spec) for spec in specs) * 100 * 2**20

    monkeypatch.setattr(memory, "free", free)
    evicted: list[str] = []
    manager.on_evict = lambda spec: evicted.append(spec.key)
    for spec in specs[:3]:
        with manager.lease(spec):
            pass
    with manager.lease(specs[0]), manager.lease(specs[3]):  # the first is in use, the second idle
        assert evicted == ["base"]
    with manager.lease(specs[4]):
        assert evicted == ["base", "large"]
    total = 300 * 2**20
    manager.load(specs[0])  # what is loaded stays
    with (
        pytest.raises(NotAvailable, match="needs 356 MB of memory and 300 MB are free") as error,
        manager.lease(specs[1]),
    ):
        pass
    assert error.value.status == 503
    assert not any(manager.is_loaded(spec) for spec in specs)


def test_a_model_in_use_is_not_evicted(
    manager: Manager, specs: tuple[ModelSpec, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    with manager.lease(specs[0]):
        monkeypatch.setattr(memory, "free", lambda _: 0)
        with pytest.raises(NotAvailable, match="0 MB are free"), manager.lease(specs[1]):
            pass
        assert manager.is_loaded(specs[0])
