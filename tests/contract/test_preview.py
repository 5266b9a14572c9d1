# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests the small pictures of photos, and that the console's looks are not in the log."""

from __future__ import annotations

import io

import numpy as np
import pytest
import requests
from PIL import Image

from benchmarks.service import Service
from tests.contract import check
from tests.pictures import encoded, picture, rotated_jpeg


def post(service: Service, data: bytes, query: str = "") -> requests.Response:
    return service.post(f"/api/preview{query}", files={"image": ("a.bin", data)})


def shown(response: requests.Response, kind: str = "JPEG") -> Image.Image:
    assert response.status_code == 200, response.text
    image = Image.open(io.BytesIO(response.content))
    assert (image.format, image.mode) == (kind, "RGB")
    assert response.headers["Content-Type"] == f"image/{kind.lower()}"
    return image


@pytest.mark.parametrize("kind", ["TIFF", "HEIF", "PNG"])
def test_a_photo_becomes_a_small_picture_of_the_same_look(service: Service, kind: str) -> None:
    photo = picture(200, 120)
    image = shown(post(service, encoded(photo, kind), "?size=50"))
    assert image.size == (50, 30)
    expected = np.asarray(photo.convert("RGB").resize((50, 30), Image.Resampling.BICUBIC), int)
    assert np.abs(np.asarray(image, int) - expected).mean() < 6


def test_it_is_upright_and_never_enlarged(service: Service) -> None:
    image = shown(post(service, rotated_jpeg(picture(120, 80)), "?format=webp"), "WEBP")
    assert image.size == (80, 120)


def test_what_is_wrong_is_named(service: Service) -> None:
    photo = encoded(picture(40, 30), "PNG")
    assert "size" in check.error(post(service, photo, "?size=4096"), 400, "Invalid option")
    assert "colormap" in check.error(post(service, photo, "?colormap=turbo"), 400)
    check.error(post(service, b"no image"), 400, "Invalid image")
    check.error(service.post("/api/preview", data=photo), 400, "No image provided")


def test_looks_of_the_console_are_not_logged_but_all_else_is(service: Service) -> None:
    def ask(path: str, mark: str, **headers: str) -> None:
        given = {"X-Request-ID": f"glance-{mark}"} | headers
        requests.get(service.url(path), headers=given, timeout=240)

    glance = {"X-Console-Glance": "1"}
    ask("/api/models?type=all", "quiet", **glance)
    ask("/api/models/nothing", "failed", **glance)
    ask("/models", "other-route", **glance)
    ask("/api/models?type=all", "program")
    log = service.text()
    assert "glance-quiet" not in log
    for mark in ("failed", "other-route", "program"):
        assert f"glance-{mark}" in log
