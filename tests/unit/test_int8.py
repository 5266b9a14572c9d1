# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests PRECISION=int8: where it is used, how close its answers are, and what takes its place."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.cli.main import main
from app.cli.models import samples
from app.engines.openvino import int8
from app.engines.openvino.conversions import Conversions
from app.lending.loader import Loader
from benchmarks.models import DepthModel, checkpoint_of, first_network, load, row, source
from benchmarks.service import PROJECT, Service
from tests.conftest import convert_all, converted_models
from tests.pictures import picture, upright
from tests.services import PHOTO

LIFE, _ = os.pipe()
AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2"}


@pytest.fixture(scope="module")
def cache(hub: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy some checkpoints of ``hub``, beside which these tests may write."""
    copy = tmp_path_factory.mktemp("int8")
    for name in ("Small-hf", "timm--vit_base*", "twinlens--builtin-depth"):
        for folder in hub.glob(f"*{name}"):
            shutil.copytree(folder, copy / folder.name, symlinks=True)
    return copy


@pytest.fixture(scope="module")
def converted(cache: Path) -> Iterator[Path]:
    """Add int8 conversions, made in this process, which is faster than one for each."""
    convert_all((row(key) for key in ("small", "ViT-B-16")), cache, int8=True)
    yield cache
    logging.setLoggerClass(logging.Logger)  # NNCF sets its own


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    int8.is_supported.cache_clear()
    yield
    int8.is_supported.cache_clear()


@pytest.fixture
def here() -> None:
    if not int8.is_supported():
        pytest.skip("this CPU cannot multiply in int8")


def is_supported(environ: dict[str, Any]) -> bool:
    trial = [sys.executable, "-m", "app.engines.openvino.int8_trial"]
    ran = subprocess.run(
        trial, cwd=PROJECT, env=os.environ | environ, capture_output=True, check=False
    )
    return ran.stdout.strip() == int8.RIGHT


def test_the_trial_tells_that_avx2_alone_is_not_enough() -> None:
    assert not is_supported(AVX2)


@pytest.mark.usefixtures("here")
def test_answers_stay_within_the_bounds(converted: Path) -> None:
    """Vectors keep a cosine of 0.999, 99.9 % of a map's pixels 8 levels: docs/performance.md."""
    exact, rounded = load(converted, "ViT-B-16"), load(converted, "ViT-B-16", "openvino", "int8")
    assert (rounded.network.engine, rounded.network.precision) == ("openvino", "int8")
    batch = np.random.default_rng(1).standard_normal((4, 3, 224, 224), np.float32)
    for one, other in zip(exact.infer(batch), rounded.infer(batch), strict=True):
        assert one @ other / np.linalg.norm(one) / np.linalg.norm(other) > 0.999
    exact, rounded = load(converted, "small"), load(converted, "small", "openvino", "int8")
    assert rounded.network.precision == "int8"
    assert isinstance(exact, DepthModel)
    inputs = exact.prepare(upright(picture(400, 300)))[None]
    maps = [exact.finish(m.infer(inputs)[0], 400, 300).astype(int) for m in (exact, rounded)]
    assert np.percentile(np.abs(maps[0] - maps[1]), 99.9) <= 8


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(("key", "figure"), [("small", "levels apart"), ("ViT-B-16", "cosine")])
def test_check_says_how_far_it_is_from_the_reference(
    key: str,
    figure: str,
    converted: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(converted))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(samples, "SIZES", {"small": samples.SIZES["small"]})
    monkeypatch.setattr(samples, "TEXTS", ())
    picture(120, 80).save(tmp_path / "mine.png")
    command = ["models", "check", key, "--precision", "int8", "--pictures", str(tmp_path)]
    status = main(command)
    said = capsys.readouterr().out
    assert "openvino in int8" in said
    assert (
        len([line for line in said.splitlines() if line.startswith("  ") and figure in line]) == 2
    )
    assert "mine.png" in said
    # Rounding harms random weights more than trained ones: both ends are right here.
    assert ("OK: " in said) == (status == 0)
    assert ("DIFFERS: " in said) == (status == 1)


def test_its_conversions_are_others_and_none_makes_the_others_out_of_date(hub: Path) -> None:
    for spec in converted_models()[:2]:
        network = source(spec, checkpoint_of(spec, hub))
        half = Conversions(half=True, life=LIFE)
        rounded = Conversions(half=True, life=LIFE, int8=True)
        assert half.job(network).basis == rounded.job(network).basis
        assert half.job(network).target != rounded.job(network).target
        assert half.find_converted(network) is not None


def test_where_it_cannot_be_used_auto_is_and_the_log_says_why(
    hub: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(*next(iter(AVX2.items())))
    made = Loader.make("auto", "int8", "cpu", threads=1, life=LIFE)
    spec = row("small")
    with caplog.at_level(logging.WARNING):
        preloaded = made.preload(first_network(spec), checkpoint_of(spec, hub))
        loaded = made.load(first_network(spec), checkpoint_of(spec, hub), "cpu")
    for each in (preloaded, loaded):
        assert each is not None
        each.network.to_device("cpu")
        assert each.network.precision in ("fp32", "bf16", "fp16")
    assert caplog.text.count("PRECISION=int8 cannot be used here") == 1
    assert "VNNI" in caplog.text


def test_torch_says_that_it_does_not_have_it(hub: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = Loader.make("torch", "int8", "cpu", threads=1, life=LIFE)
    spec = row("small")
    loaded = made.load(first_network(spec), checkpoint_of(spec, hub), "cpu")
    loaded.network.to_device("cpu")
    assert loaded.network.precision in ("fp32", "bf16")
    assert "PRECISION=int8, but torch runs small" in caplog.text


@pytest.mark.parametrize("environ", [{}, AVX2])
def test_the_service_answers_either_way(
    environ: dict[str, Any], cache: Path, tmp_path: Path
) -> None:
    """It says in X-Precision what it used; a CPU without VNNI gets another one, never a 5xx."""
    service = Service(
        tmp_path / "log",
        HF_HUB_CACHE=cache,
        HF_HUB_OFFLINE=1,
        PRECISION="int8",
        ENABLED_FAMILIES="depth",
        DEPTH_MODEL="builtin-depth",
        WEB_CONCURRENCY=2,
        **environ,
    )
    with service.started():
        service.wait_until_ready()
        answer = service.post("/api/depth", files={"image": ("a.png", PHOTO)})
        assert answer.status_code == 200, answer.text
        expected = is_supported(environ)
        assert (answer.headers["X-Precision"] == "int8") == expected
        assert answer.headers["X-Engine"] == "openvino"
        assert ("PRECISION=int8 cannot be used here" in service.text()) != expected
        assert service.get("/health").json()["precision"] == answer.headers["X-Precision"]
        assert "Traceback" not in service.text()
