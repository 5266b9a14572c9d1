# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Defines the fixtures that all tests share."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import hypothesis
import pytest
from filelock import FileLock
from flask import Flask

from app.blueprints.application import create_app
from app.engines.openvino.conversion_process import convert
from app.engines.openvino.conversions import Conversions
from app.lending.registry import networks_of
from app.runtime import Runtime
from benchmarks.models import checkpoint_of, source
from benchmarks.service import Service
from config.models import ModelSpec
from config.settings import Settings

# OpenMP reads this when torch is imported. By default its threads occupy cores while they wait for
# each other. Here those cores are needed, because parts of the tests run beside each other.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# With hypothesis' time limit, an example would fail whenever something else uses the cores.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")


#: the models of the replaced services
MADE = ("small", "base", "large", "ViT-L-14", "ViT-B-16")


def convert_all(
    specs: Iterable[ModelSpec], cache: Path, *, half: bool = True, int8: bool = False
) -> None:
    """Convert models as a first start would, but in this process, which is faster.

    ``life`` is not used, because it would only end a conversion process.
    """
    conversions = Conversions(half=half, life=0, int8=int8)
    for spec in specs:
        checkpoint = checkpoint_of(spec, cache)
        for id in networks_of(spec):
            with warnings.catch_warnings(action="ignore"):  # tracing a network emits warnings
                convert(conversions.job(source(spec, checkpoint, id.name)))


def _make_hub(cache: Path) -> None:
    # Imported here, because it imports transformers, which costs a run of pytest 12 s of CPU, and
    # most runs find the checkpoints made or need none.
    from benchmarks.checkpoints.__main__ import make

    for key in MADE:
        for repository in make(key, small_scale=True):
            repository.write(cache)
    convert_all(converted_models(), cache)


def converted_models() -> list[ModelSpec]:
    """The models that ``hub`` has converted: those that it makes, and the built-in ones.

    It also has ``MADE``'s CLIP models in transformers' format, for comparisons; rows of the table
    use those, too, but they are not converted, because that would take time for no test.
    """
    table = Settings().table().model
    return [spec for spec in table if spec.key in MADE or spec.is_built_in]


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a hub cache with tiny, converted checkpoints of all five models.

    Tests must not write to it. ``make test`` names a folder, in which one of its parts makes the
    checkpoints for all.
    """
    cache = tmp_path_factory.mktemp("hub")
    if "TEST_CHECKPOINTS" not in os.environ:
        _make_hub(cache)
        return cache
    shared = Path(os.environ["TEST_CHECKPOINTS"])
    with FileLock(shared / "lock"):
        if not (shared / "hub").exists():
            _make_hub(shared / "new")
            (shared / "new").rename(shared / "hub")
    shutil.copytree(shared / "hub", cache, symlinks=True, dirs_exist_ok=True)
    return cache


@pytest.fixture(scope="session")
def built_in(hub: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a hub cache with only the converted built-in models; tests must not write to it."""
    cache = tmp_path_factory.mktemp("built-in")
    for folder in hub.glob("twinlens--*"):
        shutil.copytree(folder, cache / folder.name, symlinks=True)
    return cache


@pytest.fixture
def settings(hub: Path) -> Settings:
    return Settings(hf_hub_cache=hub, hf_hub_offline=True)


@pytest.fixture
def app(settings: Settings) -> Iterator[Flask]:
    """Yield the app in this process, for pytest-flask's ``client``.

    Models are loaded at first use.
    """
    runtime = Runtime(settings)
    runtime.start()
    yield create_app(settings, runtime)
    runtime.close()


@pytest.fixture(scope="session")
def service(hub: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Run a service with the default settings, shared by all tests that do not change it."""
    log = tmp_path_factory.mktemp("service") / "log"
    with Service(log, HF_HUB_CACHE=hub, HF_HUB_OFFLINE=1).started() as running:
        running.wait_until_warm()
        yield running


@pytest.fixture(scope="session")
def demo(built_in: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Run a service with the built-in models and without a hub, like a second ``make demo``."""
    service = Service(
        tmp_path_factory.mktemp("demo") / "log",
        HF_HUB_CACHE=built_in,
        HF_HUB_OFFLINE=1,
        HF_ENDPOINT="http://127.0.0.1:9",
        DEPTH_MODEL="builtin-depth",
        DEFAULT_MODEL="builtin-clip",
    )
    with service.started():
        service.wait_until_warm()
        yield service
