# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests that engines agree for every shape of input, and which engine is chosen."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from app.engines import devices
from app.engines.base import LoadError
from app.engines.devices import resolve
from app.engines.openvino import runner as openvino_engine
from app.engines.torch.runner import TorchNetwork
from app.hub.checkpoint_files import CheckpointFiles
from app.hub.store import find_checkpoint
from app.lending import loader as loader_module
from app.lending.loader import Loader
from app.models.depth_anything import DepthAnything
from benchmarks.models import DepthModel, first_network, load, row
from config.settings import Settings, SettingsError, load_settings
from config.values import EngineName, EngineSetting
from tests.conftest import convert_all
from tests.pictures import picture, upright

SPEC = Settings().table().model[0]
# Each model is loaded and compiled only once for all tests of this file.
model_of = cache(load)
# A conversion process ends when the other end of this pipe is closed. Here, as in the service, the
# other end stays open.
LIFE, _ = os.pipe()
# These are the sizes of a photo, a portrait, a wide, a tall and a tiny picture, a panorama, and a
# single pixel.
SIZES = [(400, 300), (300, 400), (1920, 1080), (250, 1000), (64, 48), (2000, 200), (1, 1)]


@pytest.fixture(scope="module", autouse=True)
def _converted_in_full(hub: Path) -> None:
    """Convert the networks for the fp32 tests, in this process because that is faster."""
    convert_all((row(key) for key in ("small", "ViT-L-14", "ViT-B-16")), hub, half=False)


@pytest.mark.parametrize("size", SIZES)
def test_one_converted_model_serves_every_shape_of_photo(hub: Path, size: tuple[int, int]) -> None:
    theirs, ours = model_of(hub, "small"), model_of(hub, "small", "openvino", "fp32")
    assert isinstance(theirs, DepthModel)
    inputs = theirs.prepare(upright(picture(*size)))[None]
    expected, got = theirs.infer(inputs), ours.infer(inputs)
    assert got.shape == expected.shape == (1, *inputs.shape[2:])
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("key", ["ViT-L-14", "ViT-B-16"])
@pytest.mark.parametrize("images", [1, 3, 8])
def test_vectors_of_any_batch_agree_to_five_nines(hub: Path, key: str, images: int) -> None:
    theirs, ours = model_of(hub, key), model_of(hub, key, "openvino", "fp32")
    batch = np.random.default_rng(images).standard_normal((images, 3, 224, 224), np.float32)
    for expected, got in zip(theirs.infer(batch), ours.infer(batch), strict=True):
        assert expected @ got / np.linalg.norm(expected) / np.linalg.norm(got) > 0.99999


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_reduced_precision_stays_within_its_bounds(hub: Path, engine: EngineSetting) -> None:
    """The bounds are those that docs/performance.md states for full-size weights."""
    exact, rounded = model_of(hub, "small"), model_of(hub, "small", engine, "bf16")
    assert isinstance(exact, DepthModel)
    inputs = exact.prepare(upright(picture(400, 300)))[None]
    maps = [exact.finish(m.infer(inputs)[0], 400, 300).astype(int) for m in (exact, rounded)]
    off = np.abs(maps[0] - maps[1])
    assert off.mean() <= 1.0
    assert np.percentile(off, 99.9) <= 8
    exact, rounded = model_of(hub, "ViT-B-16"), model_of(hub, "ViT-B-16", engine, "bf16")
    batch = np.random.default_rng(1).standard_normal((1, 3, 224, 224), np.float32)
    (one,), (other,) = exact.infer(batch), rounded.infer(batch)
    assert one @ other / np.linalg.norm(one) / np.linalg.norm(other) > 0.999


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_several_threads_at_once(hub: Path, engine: EngineSetting) -> None:
    model = model_of(hub, "ViT-B-16", engine, "fp32")
    batches = np.random.default_rng(2).standard_normal((16, 1, 3, 224, 224), np.float32)
    expected = [model.infer(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        for one, other in zip(expected, pool.map(model.infer, batches), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)
            assert one.flags.owndata or one.base is not None


def test_what_was_answered_is_not_overwritten(hub: Path) -> None:
    model = model_of(hub, "ViT-B-16", "openvino", "fp32")
    batches = np.random.default_rng(3).standard_normal((2, 1, 3, 224, 224), np.float32)
    first = model.infer(batches[0])
    kept = first.copy()
    model.infer(batches[1])
    model.network.release_idle_memory()
    assert np.array_equal(first, kept)
    np.testing.assert_allclose(model.infer(batches[0]), kept, rtol=1e-5, atol=1e-5)


def test_the_precision_that_is_told_is_the_one_that_is_used(hub: Path) -> None:
    has = openvino_engine.core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    expected = "bf16" if "BF16" in has else "fp16" if "FP16" in has else "fp32"
    assert model_of(hub, "small", "openvino", "auto").network.precision == expected
    assert model_of(hub, "small", "openvino", "fp32").network.precision == "fp32"
    flags = torch.cpu.get_capabilities()
    expected = "bf16" if flags.get("avx512_bf16") or flags.get("amx_bf16") else "fp32"
    assert model_of(hub, "small", "torch", "auto").network.precision == expected


@pytest.mark.parametrize("error", [0.0, 1e-2])
def test_a_faster_gemm_is_taken_only_where_it_is_exact(
    monkeypatch: pytest.MonkeyPatch, error: float
) -> None:
    before = torch.get_float32_matmul_precision()
    product = torch.Tensor.__matmul__

    def rounding(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        rough = torch.get_float32_matmul_precision() != "highest"
        return product(one, other) * (1 + error * rough)

    monkeypatch.setattr(torch.Tensor, "__matmul__", rounding)
    try:
        TorchNetwork(torch.nn.Identity(), "fp32", 1).to_device("cpu")
        expected = "highest" if error else "medium"
        assert torch.get_float32_matmul_precision() == expected
    finally:
        torch.set_float32_matmul_precision(before)


def loader(engine: EngineSetting = "auto", device: str = "auto") -> Loader:
    return Loader.make(engine, "auto", device, threads=1, life=LIFE)


@pytest.mark.parametrize(
    ("engine", "setting", "device", "taken"),
    [
        ("auto", "auto", "cpu", "openvino"),
        ("auto", "auto", "cuda", "torch"),
        ("auto", "cuda:1", "cuda:1", "torch"),
        ("auto", "openvino:GPU", "openvino:GPU", "openvino"),
        ("torch", "auto", "cpu", "torch"),
        ("openvino", "cpu", "cpu", "openvino"),
    ],
)
def test_the_engine_of_a_device(
    engine: EngineSetting, setting: str, device: str, taken: EngineName
) -> None:
    assert loader(engine, setting).engine_on(device) == taken


def test_a_driver_without_a_gpu_leaves_the_cpu_to_openvino(
    hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "_may_have_gpu", lambda: True)
    checkpoint = find_checkpoint(SPEC, CheckpointFiles(DepthAnything.FILES), hub)
    assert checkpoint is not None
    preloaded = loader().preload(first_network(SPEC), checkpoint)
    assert preloaded is not None
    assert preloaded.network.engine == "torch"
    device = resolve("auto").type
    assert loader().suits(preloaded.network, device) == (device != "cpu")
    assert loader().load(first_network(SPEC), checkpoint, "cpu").network.engine == "openvino"


@pytest.mark.parametrize(
    ("environ", "engine", "device"),
    [
        ({"DEVICE": "openvino:CPU"}, "openvino", "openvino:CPU"),
        ({"ENGINE": "openvino"}, "openvino", "cpu"),
        ({}, "auto", "auto"),
    ],
)
def test_what_settings_imply(environ: dict[str, str], engine: str, device: str) -> None:
    made = Loader.from_settings(load_settings(environ), 1, LIFE)
    assert (made.engine, made.device) == (engine, device)


def test_nobody_is_told_of_a_conversion(hub: Path) -> None:
    """A conversion in this process, as in the fixture above, turns OpenVINO's telemetry off."""
    assert hub.is_dir()
    assert sys.modules["openvino_telemetry"] is None


def test_pages_of_the_file_are_given_back_also_through_a_link(hub: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(hub)
    model = load(link, "ViT-L-14", "openvino", "bf16")

    def resident() -> int:
        kilobytes = 0
        for part in Path("/proc/self/smaps").read_text().split("VmFlags")[:-1]:
            if "vit_large" in part and "model.bin" in part:
                kilobytes += int(part.split("Rss:")[1].split()[0])
        return kilobytes

    before = resident()
    model.network.release_idle_memory()
    assert resident() < before


def test_without_the_package_torch_takes_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader_module, "is_installed", lambda: False)
    assert loader().engine_on("cpu") == "torch"


@pytest.mark.parametrize(
    ("gpus", "setting", "device"),
    [
        ({"GPU": "Arc"}, "openvino:GPU", "openvino:GPU"),
        ({"GPU": "Arc"}, "openvino:GPU.0", "openvino:GPU"),
        ({"GPU": "Arc"}, "openvino", "openvino:GPU"),
        ({"GPU.0": "UHD", "GPU.1": "Arc"}, "openvino:GPU.1", "openvino:GPU.1"),
        ({"GPU.0": "UHD", "GPU.1": "Arc"}, "openvino:AUTO", "openvino:GPU.0"),
        ({}, "openvino:AUTO", "cpu"),
        ({}, "openvino:CPU", "cpu"),
    ],
)
def test_devices_of_openvino(
    monkeypatch: pytest.MonkeyPatch, gpus: dict[str, str], setting: str, device: str
) -> None:
    monkeypatch.setattr(openvino_engine, "gpus", lambda: gpus)
    assert resolve(setting).type == device


def test_an_intel_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_engine, "gpus", dict)
    with pytest.raises(LoadError, match="DEVICE=openvino:GPU, but this machine has no such device"):
        resolve("openvino:GPU")


def test_where_no_gpu_can_be_nobody_asks_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_CUDA_SIGNS", ())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: pytest.fail("a driver was asked"))
    assert resolve("auto").type == "cpu"


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"ENGINE": "torch", "DEVICE": "openvino:CPU"}, "needs openvino"),
        ({"ENGINE": "openvino", "DEVICE": "cuda"}, "needs torch"),
        ({"ENGINE": "tensorrt"}, "ENGINE='tensorrt'"),
        ({"PRECISION": "int4"}, "PRECISION='int4'"),
        ({"DEVICE": "openvino:NPU"}, "openvino:GPU.N"),
    ],
)
def test_settings_that_contradict_each_other(environ: dict[str, str], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        load_settings(environ)
