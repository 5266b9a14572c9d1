# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests each option that docs/contracts.md lists under "Depth", on a running service."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import requests
from numpy.typing import NDArray
from PIL import Image

from app.rendering.options import DepthOptions
from benchmarks.service import Service
from tests.contract import check
from tests.pictures import encoded, picture, rotated_jpeg

# Turned upright, the photo is 300 pixels wide and 400 high.
PHOTO = rotated_jpeg(picture(400, 300))
TYPES = {
    "png": ("image/png", "PNG", "png"),
    "webp": ("image/webp", "WEBP", "webp"),
    "jpeg": ("image/jpeg", "JPEG", "jpg"),
    "jpg": ("image/jpeg", "JPEG", "jpg"),
}


@pytest.fixture(scope="module")
def plain(service: Service) -> NDArray[np.uint8]:
    return check.depth_map(ask(service))


def ask(
    service: Service, query: str = "", photo: bytes = PHOTO, **form: object
) -> requests.Response:
    files = {"image": ("IMG 1.jpg", photo)}
    return service.post(f"/api/depth{query}", files=files, data=form)


def image(response: requests.Response) -> Image.Image:
    assert response.status_code == 200, response.text
    return Image.open(io.BytesIO(response.content))


def array(response: requests.Response) -> NDArray[np.float32]:
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"] == "application/octet-stream"
    values: NDArray[np.float32] = np.load(io.BytesIO(response.content), allow_pickle=False)
    assert values.dtype == np.float32
    return values


def test_defaults_may_be_sent(service: Service, plain: NDArray[np.uint8]) -> None:
    """All fields may be sent with their defaults, as the page /docs and generated clients do."""
    schema = DepthOptions.model_json_schema()["properties"]
    defaults: dict[str, Any] = {
        name: "" if each["default"] is None else str(each["default"]).lower()
        for name, each in schema.items()
    }
    assert defaults["stereo"] == "none"
    np.testing.assert_array_equal(check.depth_map(ask(service, **defaults)), plain)


@pytest.mark.parametrize("format_", TYPES)
def test_formats_of_8_bits(service: Service, plain: NDArray[np.uint8], format_: str) -> None:
    response = ask(service, format=format_)
    mimetype, kind, suffix = TYPES[format_]
    assert response.headers["Content-Type"] == mimetype
    assert response.headers["Content-Disposition"] == (
        f'attachment; filename="depth_IMG 1.{suffix}"'
    )
    shown = image(response)
    assert shown.format == kind
    difference = np.abs(np.asarray(shown.convert("L")).astype(int) - plain)
    assert difference.max() <= (4 if kind == "JPEG" else 0)


def test_16_bits_are_more_than_8_shifted(service: Service, plain: NDArray[np.uint8]) -> None:
    response = ask(service, format="png16")
    assert response.headers["Content-Type"] == "image/png"
    shown = image(response)
    assert (shown.mode, shown.size) == ("I;16", (300, 400))
    levels = np.asarray(shown).astype(int)
    assert (levels.min(), levels.max()) == (0, 65535)
    assert len(np.unique(levels)) > 1000
    assert np.abs(levels / 257 - plain).max() <= 0.51


def test_numbers(service: Service, plain: NDArray[np.uint8]) -> None:
    response = ask(service, format="npy")
    assert response.headers["Content-Disposition"] == 'attachment; filename="depth_IMG 1.npy"'
    values = array(response)
    assert values.shape == (400, 300)
    assert (values.min(), values.max()) == (0, 1)
    assert np.abs(255 * values - plain).max() <= 0.51


def test_numbers_as_tiff(service: Service) -> None:
    response = ask(service, format="tiff")
    assert response.headers["Content-Type"] == "image/tiff"
    assert response.headers["Content-Disposition"] == 'attachment; filename="depth_IMG 1.tiff"'
    assert response.headers["X-Depth-Unit"] == "relative"
    shown = image(response)
    assert shown.mode == "F"
    np.testing.assert_array_equal(np.asarray(shown), array(ask(service, format="npy")))


def test_the_networks_own_numbers(service: Service) -> None:
    response = ask(service, format="npy", normalize="none", size="model")
    values = array(response)
    low, high = (float(response.headers[f"X-Depth-{name}"]) for name in ("Min", "Max"))
    assert (values.min(), values.max()) == (np.float32(low), np.float32(high))
    full = array(ask(service, format="npy", normalize="none"))
    assert full.shape == (400, 300)
    assert low <= full.min() < full.max() <= high
    assert full.mean() == pytest.approx(values.mean(), abs=0.02 * (high - low))
    plain = ask(service)
    assert float(plain.headers["X-Depth-Min"]) == low
    assert float(plain.headers["X-Depth-Max"]) == high


def test_inverted(service: Service, plain: NDArray[np.uint8]) -> None:
    assert (check.depth_map(ask(service, "?invert=true")) == 255 - plain).all()
    ways = [array(ask(service, format="npy", invert=each)) for each in ("0", "1")]
    np.testing.assert_allclose(ways[0] + ways[1], 1, atol=1e-6)


@pytest.mark.parametrize(
    ("size", "expected"),
    [("original", (300, 400)), ("model", (392, 518)), ("200", (150, 200)), ("1", (1, 1))],
)
@pytest.mark.parametrize("format_", ["png", "png16"])
def test_sizes(service: Service, size: str, expected: tuple[int, int], format_: str) -> None:
    assert image(ask(service, f"?size={size}", format=format_)).size == expected


def test_no_photo_is_enlarged(service: Service) -> None:
    assert image(ask(service, "?size=5000")).size == (300, 400)


@pytest.mark.parametrize("name", ["inferno", "magma", "plasma", "viridis", "cividis", "turbo"])
def test_colours(service: Service, plain: NDArray[np.uint8], name: str) -> None:
    """The colours are matplotlib's, but OpenCV's copies of its tables may be off by one level."""
    import matplotlib

    shown = image(ask(service, f"?colormap={name}"))
    assert shown.mode == "RGB"
    expected = 255 * matplotlib.colormaps[name](plain)[..., :3]
    # matplotlib has the first published version of turbo, from which OpenCV's may differ a little
    # more.
    assert np.abs(np.asarray(shown) - expected).max() <= (3 if name == "turbo" else 1.5)


@pytest.mark.parametrize("format_", ["png", "webp", "jpeg"])
def test_a_stereo_pair_of_the_upright_photo(service: Service, format_: str) -> None:
    response = ask(service, stereo="sbs", format=format_, divergence=4)
    mimetype, kind, suffix = TYPES[format_]
    assert response.headers["Content-Type"] == mimetype
    assert response.headers["Content-Disposition"] == (
        f'attachment; filename="IMG 1_LRF_Full_SBS.{suffix}"'
    )
    shown = image(response)
    assert (shown.format, shown.mode, shown.size) == (kind, "RGB", (600, 400))
    left, right = (np.asarray(shown)[:, part].astype(int) for part in (slice(300), slice(300, 600)))
    photo = np.asarray(picture(400, 300).transpose(Image.Transpose.ROTATE_270)).astype(int)
    for view in (left, right):
        assert np.abs(view - photo).mean() < 12, "the photo, its points moved by a few columns"
    assert (left != right).any()
    assert image(ask(service, "?size=100&stereo=sbs")).size == (150, 100)


def test_a_stereo_pair_of_what_is_no_jpeg(service: Service) -> None:
    photo = encoded(picture(90, 60), "PNG")
    assert image(ask(service, "?stereo=sbs", photo)).size == (180, 60)


def test_the_form_counts_where_both_have_an_option(service: Service) -> None:
    assert image(ask(service, "?size=100", size="200")).size == (150, 200)
    # An empty one counts as not given.
    assert image(ask(service, "?size=100", size="")).size == (75, 100)


def test_unknown_options_are_ignored(service: Service, plain: NDArray[np.uint8]) -> None:
    response = ask(service, "?colour=red", quality="9", format="")
    assert (check.depth_map(response) == plain).all()


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"format": "gif"}, "'png', 'png16', 'npy', 'tiff', 'webp' or 'jpeg'"),
    ({"size": "huge"}, "original, model"),
    ({"size": "0"}, "original, model"),
    ({"size": "-5"}, "original, model"),
    ({"size": "12345678"}, "original, model"),
    ({"invert": "perhaps"}, "true, false"),
    ({"colormap": "jet"}, "'viridis'"),
    ({"normalize": "max", "colormap": "jet"}, "'minmax' or 'none'"),
    ({"normalize": "none"}, "format=npy or tiff"),
    ({"unit": "metres"}, "format=npy or tiff"),
    ({"unit": "metres", "format": "npy"}, "model=metric-indoor-small"),
    ({"normalize": "none", "format": "npy", "invert": "1"}, "leave invert out"),
    ({"colormap": "turbo", "format": "png16"}, "format=png, webp or jpeg"),
    ({"stereo": "tab"}, "'half-sbs'"),
    ({"stereo": "sbs", "format": "heic"}, "does not write them"),
    ({"stereo": "left", "swap": "1"}, "stereo=right"),
    ({"swap": "1"}, "swap: only with a stereo pair"),
    ({"convergence": "0.2"}, "convergence: only with a stereo pair"),
    ({"stereo": "sbs", "format": "npy"}, "format=png, webp or jpeg"),
    ({"stereo": "sbs", "invert": "1"}, "leave invert and colormap out"),
    ({"stereo": "sbs", "divergence": "11"}, "less than or equal to 10"),
    ({"stereo": "sbs", "divergence": "nan"}, "divergence"),
    ({"divergence": "1"}, "divergence: only with a stereo pair, such as stereo=sbs"),
]


@pytest.mark.parametrize(("options", "expected"), WRONG, ids=str)
def test_what_is_not_allowed(service: Service, options: dict[str, Any], expected: str) -> None:
    assert expected in check.error(ask(service, **options), 400, "Invalid option")


def test_what_a_format_cannot_hold(service: Service) -> None:
    wide = encoded(Image.new("L", (17000, 1000)))
    assert "at most 16383" in check.error(ask(service, "?format=webp", wide), 413)
    assert image(ask(service, "?format=webp&size=400", wide)).size == (400, 24)
    wider = encoded(Image.new("1", (33000, 1700)))
    message = check.error(ask(service, "?format=jpeg&stereo=sbs", wider), 413)
    assert "at most 32766" in message
    large = encoded(Image.new("1", (8000, 8000)))
    message = check.error(ask(service, "?stereo=sbs", large), 413)
    assert "MAX_IMAGE_PIXELS" in message
    assert "smaller size=" in message
