# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests that what Twinlens itself does asks for no kind of processor.

The libraries' compiled parts are those of this machine, so this shows nothing about them.
"""

from __future__ import annotations

import io
import platform
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.engines import devices
from app.engines.openvino import int8
from app.host import memory
from app.lending import loader as loader_module
from app.lending.loader import Loader
from app.pictures.canvas import spread
from app.pictures.decode import decode
from app.rendering import png
from benchmarks import machine
from tests.pictures import encoded, picture

ARM = "processor\t: 0\nBogoMIPS\t: 48.00\nFeatures\t: fp asimd i8mm bf16\nCPU part\t: 0xd0c\n"


@pytest.fixture(autouse=True)
def _arm(monkeypatch: pytest.MonkeyPatch) -> None:
    read = Path.read_text

    def read_text(path: Path, *arguments: str, **options: str) -> str:
        if path == Path("/proc/cpuinfo"):
            return ARM
        return read(path, *arguments, **options)

    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(Path, "read_text", read_text)


def test_a_photo_becomes_a_map() -> None:
    photo = decode(io.BytesIO(encoded(picture(64, 48), "JPEG")), 10**6)
    assert photo.size == (64, 48)
    levels = spread(np.linspace(0, 1, 48 * 64, dtype=np.float32).reshape(48, 64), 64, 48)
    file = png.encode(levels)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(file))), levels)


def test_the_machine_is_described() -> None:
    assert memory.usable_cores() >= 1
    assert devices.resolve("cpu").type == "cpu"
    assert machine.description()["CPU"].startswith("aarch64")
    assert not machine.has_bf16()


@pytest.mark.parametrize("has_openvino", [True, False])
def test_an_engine_is_chosen(has_openvino: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a package of OpenVINO, or where a trial of int8 fails, there is still an answer."""
    monkeypatch.setattr(loader_module, "is_installed", lambda: has_openvino)
    monkeypatch.setattr(int8, "is_supported", lambda: False)
    made = Loader.make("auto", "int8", "cpu", threads=1, life=0)
    assert made.engine_on("cpu") == ("openvino" if has_openvino else "torch")
