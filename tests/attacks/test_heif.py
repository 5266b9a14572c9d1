# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Sends hostile and broken HEIC and AVIF files to the running service."""

from __future__ import annotations

import pytest
import requests

from benchmarks.service import Service
from tests.contract import check
from tests.heif_files import coded, grid, ispe, overlay
from tests.heif_files import heif as built
from tests.pictures import encoded, picture


def depth(service: Service, data: bytes) -> requests.Response:
    return service.post("/api/depth", files={"image": ("IMG_1.HEIC", data)})


def lying() -> bytes:
    """Make a picture whose file says that it is larger than any budget."""
    part = coded(picture(64, 64), "AVIF")
    part.properties = [p if p[4:8] != b"ispe" else ispe(60_000, 60_000) for p in part.properties]
    return built([part], brand=b"avif")


HOSTILE = {
    "a canvas of 3600 megapixels": (
        413,
        built([overlay((60_000, 60_000), [2]), coded(picture(64, 64))]),
    ),
    "one tile 10,000 times": (
        413,
        built([grid(100, 100, (64, 64), [2] * 10_000), coded(picture(256, 256))]),
    ),
    "a header that lies": (413, lying()),
    "half of an upload": (400, encoded(picture(1000, 700), "HEIF", tile_size=256)[:9000]),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_cannot_be_decoded_in_full_is_refused_at_once(service: Service, name: str) -> None:
    status, data = HOSTILE[name]
    response = depth(service, data)
    assert response.status_code == status, response.text
    assert "MAX_IMAGE_PIXELS" in response.text if status == 413 else "incomplete" in response.text
    good = depth(service, encoded(picture(320, 240), "HEIF", tile_size=256))
    assert check.depth_map(good).shape == (240, 320)
