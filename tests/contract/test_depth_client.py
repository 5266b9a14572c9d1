# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests docs/contracts.md under "Depth", with requests as ImmichVR's backend and curl send them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import requests

from benchmarks.service import Service
from tests.contract import check
from tests.pictures import encoded, picture, rotated_jpeg
from tests.services import PHOTO

KEYS = ["small", "base"]


def post(
    base: str, data: bytes = PHOTO, name: str = "photo.jpg", query: str = ""
) -> requests.Response:
    return requests.post(f"{base}/api/depth{query}", files={"image": (name, data)}, timeout=240)


def test_index(base: str) -> None:
    index = check.json(requests.get(base, timeout=240))
    assert index["message"] == "ImmichVR AI Service"
    assert index["model"] == "Depth Anything V2"
    assert index["version"]
    assert index["endpoints"]["health"] == "/health"
    assert index["endpoints"]["process_depth"] == "/api/depth (POST)"


def test_a_map_of_the_upright_size_spread_over_the_range(base: str) -> None:
    response = post(base, rotated_jpeg(picture(400, 300)))
    pixels = check.depth_map(response)
    assert pixels.shape == (400, 300)
    assert (pixels.min(), pixels.max()) == (0, 255)
    assert response.headers["X-Model-Used"] == "small"
    assert response.headers["Content-Disposition"] == 'attachment; filename="depth_photo.png"'


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF", "AVIF"])
def test_formats(service: Service, kind: str) -> None:
    data = encoded(picture(90, 60), kind)
    assert check.depth_map(post(service.url(""), data, "lies.txt")).shape == (60, 90)


def test_only_the_first_frame_of_a_gif_counts(service: Service) -> None:
    frames = [picture(90, 60, seed) for seed in (1, 2)]
    both = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    one = encoded(frames[0], "GIF")
    maps = [check.depth_map(post(service.url(""), data)) for data in (both, one)]
    assert np.abs(maps[0].astype(int) - maps[1]).max() <= 1


def test_file_names_that_are_not_ascii(base: str) -> None:
    # Browsers send the name as raw UTF-8 between the quotes, as here.
    body = (
        b'--x\r\nContent-Disposition: form-data; name="image"; filename="'
        + "Grüße 日本.tar.jpg".encode()
        + b'"\r\nContent-Type: image/png\r\n\r\n'
        + PHOTO
        + b"\r\n--x--\r\n"
    )
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    response = requests.post(f"{base}/api/depth", data=body, headers=headers, timeout=240)
    check.depth_map(response)
    disposition = response.headers["Content-Disposition"]
    assert 'filename="depth_Gr__e __.tar.png"' in disposition
    expected = "filename*=UTF-8''depth_Gr%C3%BC%C3%9Fe%20%E6%97%A5%E6%9C%AC.tar.png"
    assert expected in disposition


def test_no_image_in_the_exact_words(base: str) -> None:
    for response in (
        requests.post(f"{base}/api/depth", timeout=240),
        requests.post(f"{base}/api/depth", json={}, timeout=240),
        requests.post(f"{base}/api/depth", files={"photo": ("a.png", PHOTO)}, timeout=240),
        requests.post(f"{base}/api/depth", data=PHOTO, timeout=240),
    ):
        message = check.error(response, 400, "No image provided")
        assert message == "Please upload an image file with key 'image'"


def test_what_is_no_image(base: str) -> None:
    check.error(post(base, b"hello"), 400)
    check.error(post(base, PHOTO[:500]), 400)


def test_a_constant_photo_still_gives_a_map(service: Service) -> None:
    pixels = check.depth_map(post(service.url(""), encoded(picture(50, 50).resize((1, 1)))))
    assert pixels.shape == (1, 1)


def test_two_clients_with_different_models_each_get_theirs(managed: Service) -> None:
    expected: dict[str, bytes] = {}
    for key in KEYS:
        response = post(managed.url(""), query=f"?model={key}")
        assert response.headers["X-Model-Used"] == key
        expected[key] = response.content
    assert expected["small"] != expected["base"]

    def ask(number: int) -> bool:
        key = KEYS[number % 2]
        response = post(managed.url(""), query=f"?model={key}")
        return response.headers["X-Model-Used"] == key and response.content == expected[key]

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(ask, range(100)))
