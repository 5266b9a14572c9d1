# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests the layouts of stereo pairs, and pairs from a client's own map, on a running service."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import requests
from numpy.typing import NDArray
from PIL import Image

from app.rendering.options import DepthOptions
from app.rendering.stereo_layouts import anaglyph, arranged
from benchmarks.service import Service
from tests.contract import check
from tests.pictures import encoded, picture, rotated_jpeg

WIDTH, HEIGHT = 120, 80
PHOTO = encoded(picture(WIDTH, HEIGHT), "PNG")

Pixels = NDArray[np.uint8]


def ask(
    service: Service,
    photo: bytes = PHOTO,
    own_map: bytes | None = None,
    query: str = "",
    **form: Any,
) -> requests.Response:
    files = {"image": ("a photo.png", photo)}
    if own_map is not None:
        files["depth"] = ("map.png", own_map)
    return service.post(f"/api/depth{query}", files=files, data=form)


def pixels(response: requests.Response) -> Pixels:
    assert response.status_code == 200, response.text
    image = Image.open(io.BytesIO(response.content))
    assert image.mode == "RGB"
    return np.asarray(image)


def levels(deep: bool = False) -> NDArray[Any]:
    """A map: a near square before a far ground that comes nearer downwards."""
    rows = np.linspace(0, 0.4, HEIGHT)[:, None]
    near = np.broadcast_to(rows, (HEIGHT, WIDTH)).copy()
    near[20:60, 40:80] = 1
    return np.rint(near * (65535 if deep else 255)).astype(np.uint16 if deep else np.uint8)


def as_png(array: NDArray[Any]) -> bytes:
    return encoded(Image.fromarray(array), "PNG")


def test_layouts_agree_with_each_other(service: Service) -> None:
    asked: dict[str, Any] = {"divergence": 6, "convergence": 0.2}
    both = pixels(ask(service, stereo="sbs", **asked))
    left, right = both[:, :WIDTH], both[:, WIDTH:]
    assert not np.array_equal(left, right)
    expected = {
        "cross": np.hstack([right, left]),
        "tb": np.vstack([left, right]),
        "left": left,
        "right": right,
        "anaglyph": anaglyph(left, right),
    }
    for kind, picture_ in expected.items():
        assert np.array_equal(pixels(ask(service, stereo=kind, **asked)), picture_), kind
    assert np.array_equal(pixels(ask(service, stereo="sbs", swap=True, **asked)), expected["cross"])
    for kind, size in {"half-sbs": (HEIGHT, WIDTH), "half-tb": (HEIGHT, WIDTH)}.items():
        response = ask(service, stereo=kind, format="webp", **asked)
        assert response.headers["Content-Type"] == "image/webp"
        assert pixels(response).shape == (*size, 3)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("half-sbs", "a photo_LR.jpg"), ("tb", "a photo_TBF_fulltb.jpg"), ("left", "a photo_L.jpg")],
)
def test_names(service: Service, kind: str, name: str) -> None:
    response = ask(service, stereo=kind, format="jpeg", size=60)
    assert response.headers["Content-Disposition"] == f'attachment; filename="{name}"'


def test_a_pair_from_a_map_of_ones_own(service: Service) -> None:
    response = ask(service, own_map=as_png(levels()), stereo="sbs", divergence=5)
    photo = np.asarray(picture(WIDTH, HEIGHT).convert("RGB"))
    numbers = levels().astype(np.float32) / np.float32(255)
    expected = arranged(photo, numbers, DepthOptions(stereo="sbs", divergence=5))
    assert np.array_equal(pixels(response), expected)
    assert response.headers["X-Model-Used"] == "none"
    assert response.headers["Content-Disposition"].endswith('"a photo_LRF_Full_SBS.png"')
    for absent in ("X-Depth-Min", "X-Depth-Unit", "X-Engine", "X-Model-Weights"):
        assert absent not in response.headers
    assert "finish" in response.headers["Server-Timing"]


def test_the_services_own_map_gives_its_own_pair(service: Service) -> None:
    """A map that the service gave earlier, in 16 bits, replaces the model."""
    deep = ask(service, format="png16", size="model").content
    own = pixels(ask(service, own_map=deep, stereo="sbs"))
    model = pixels(ask(service, stereo="sbs"))
    assert np.abs(own.astype(int) - model).mean() < 1


@pytest.mark.parametrize(
    "own_map",
    [
        as_png(levels(deep=True)),
        as_png(np.repeat(levels()[..., None], 3, 2)),
        encoded(Image.fromarray(levels()), "WEBP", lossless=True),
        encoded(Image.fromarray(levels()), "TIFF"),
        encoded(Image.fromarray(levels()).quantize(256), "PNG"),
    ],
    ids=["16 bits", "RGB", "WebP", "TIFF", "palette"],
)
def test_kinds_of_maps(service: Service, own_map: bytes) -> None:
    expected = pixels(ask(service, own_map=as_png(levels()), stereo="left"))
    shown = pixels(ask(service, own_map=own_map, stereo="left"))
    assert (np.abs(shown.astype(int) - expected).max(2) > 8).mean() < 0.01


def test_16_bits_count(service: Service) -> None:
    """A map whose steps vanish in 8 bits moves points nevertheless."""
    fine = np.full((HEIGHT, WIDTH), 1000, np.uint16)
    fine[20:60, 40:80] = 1060
    coarse = np.zeros((HEIGHT, WIDTH), np.uint8)
    coarse[20:60, 40:80] = 255
    first, second = (
        pixels(ask(service, own_map=as_png(each), stereo="sbs", divergence=6))
        for each in (fine, coarse)
    )
    assert np.array_equal(first, second)


def test_a_map_of_another_size_and_an_upright_photo(service: Service) -> None:
    photo = rotated_jpeg(picture(WIDTH, HEIGHT))  # turned upright, it is 80 wide and 120 high
    small = as_png(np.ascontiguousarray(levels().T[::2, ::2]))
    assert pixels(ask(service, photo, small, stereo="sbs")).shape == (HEIGHT * 3 // 2, 160, 3)
    message = check.error(ask(service, photo, as_png(levels()), stereo="sbs"), 400, "Invalid image")
    assert "the map is 120x80 and the upright photo 80x120" in message
    half = ask(service, own_map=as_png(levels()), stereo="tb", size=60)
    assert pixels(half).shape == (80, 60, 3)


def test_an_empty_file_field_is_no_map(service: Service) -> None:
    """Browsers send an empty part with an empty name where no file was chosen."""
    files = {"image": ("a.png", PHOTO), "depth": ("", b"")}
    response = service.post("/api/depth", files=files, data={"stereo": "left"})
    assert response.headers["X-Model-Used"] != "none"


COLOURED = as_png(np.dstack([levels(), levels(), 255 - levels()]))
HOLEY = as_png(np.dstack([levels(), levels()]))
WRONG: list[tuple[bytes, str, dict[str, Any], str]] = [
    (as_png(levels()), "", {}, "add stereo=sbs"),
    (as_png(levels()), "?model=small", {"stereo": "sbs"}, "leave model out"),
    (as_png(levels()), "", {"stereo": "sbs", "size": "model"}, "size=model"),
    (COLOURED, "", {"stereo": "sbs"}, "depth: The depth map is coloured"),
    (HOLEY, "", {"stereo": "sbs"}, "depth: The depth map has transparent parts"),
    (b"nothing", "", {"stereo": "sbs"}, "depth: The file is not an image"),
    (b"", "", {"stereo": "sbs"}, "depth: The file is empty"),
    (as_png(levels())[:-20], "", {"stereo": "sbs"}, "depth: The PNG ends before its last row"),
    (as_png(levels()[:40]), "", {"stereo": "sbs"}, "the map is 120x40"),
]


@pytest.mark.parametrize(("own_map", "query", "form", "expected"), WRONG, ids=lambda _: "")
def test_what_is_not_allowed(
    service: Service, own_map: bytes, query: str, form: dict[str, Any], expected: str
) -> None:
    assert expected in check.error(ask(service, own_map=own_map, query=query, **form), 400)


def test_a_map_that_is_no_file(service: Service) -> None:
    message = check.error(ask(service, stereo="sbs", depth="map.png"), 400, "Invalid option")
    assert "multipart file field 'depth'" in message


def test_maps_have_the_limits_of_photos(service: Service) -> None:
    large = encoded(Image.new("1", (12001, 10000)))
    message = check.error(ask(service, own_map=large, stereo="sbs"), 413)
    assert "MAX_IMAGE_PIXELS" in message
    wide = encoded(Image.new("1", (33000, 1700)))
    response = ask(service, wide, as_png(levels()), stereo="left")
    assert "at most 32766" in check.error(response, 413)
