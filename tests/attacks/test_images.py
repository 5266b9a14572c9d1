# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests hostile, huge and broken image files."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pillow_heif
import pytest
import requests
from PIL import Image, ImageCms

from app.pictures import decode as images
from benchmarks.service import Service
from tests.contract import check
from tests.pictures import encoded, picture, rotated_jpeg
from tests.services import PHOTO

# The number of pixels per side is far over the pixel budget, but takes only a few bytes to state.
HUGE = 30_000


def depth(service: Service, data: bytes, name: str = "photo.jpg") -> requests.Response:
    return service.post("/api/depth", files={"image": (name, data)})


def png(width: int, height: int, rows: bytes = b"") -> bytes:
    """Make a PNG whose header promises more than its data holds."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check_sum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check_sum)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")


def huge(kind: str) -> bytes:
    """Make a small file whose header states a huge canvas."""
    if kind == "PNG":
        return png(HUGE, HUGE)
    if kind == "GIF":
        data = bytearray(encoded(picture(8, 8), "GIF"))
        data[6:10] = struct.pack("<HH", HUGE, HUGE)
        return bytes(data)
    if kind == "BMP":
        data = bytearray(encoded(picture(8, 8), "BMP"))
        data[18:26] = struct.pack("<ii", HUGE, HUGE)
        return bytes(data)
    if kind == "WEBP":  # in this format a side has at most 16383 pixels
        data = bytearray(encoded(picture(64, 64), "WEBP"))
        place = data.index(b"\x9d\x01\x2a") + 3
        data[place : place + 4] = struct.pack("<HH", 16383, 16383)
        return bytes(data)
    return encoded(Image.new("1", (HUGE, HUGE)), "TIFF", compression="group4")


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "TIFF", "WEBP"])
def test_a_small_file_with_a_huge_canvas(service: Service, kind: str) -> None:
    assert len(huge(kind)) < 200_000
    for path in ("/api/depth", "/embed-image"):
        response = service.post(path, files={"image": ("a.png", huge(kind))})
        message = check.error(response, 413)
        assert str(HUGE * HUGE if kind != "WEBP" else 16383**2) in message
        assert "120000000" in message


def test_rows_that_are_missing(service: Service) -> None:
    check.error(depth(service, png(5000, 5000, b"\0" * 100)), 400, "Invalid image")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF", "AVIF", "HEIF"])
def test_half_a_file(service: Service, kind: str) -> None:
    data = encoded(picture(200, 200), kind)
    check.error(depth(service, data[: len(data) // 2]), 400, "Invalid image")


@pytest.mark.parametrize("kind", ["ICO", "PPM", "TGA", "PCX", "SGI", "EPS", "PDF", "JPEG2000"])
def test_other_formats_are_not_even_tried(service: Service, kind: str) -> None:
    data = encoded(picture(64, 64), kind)
    message = check.error(depth(service, data, "photo.jpg"), 400, "Invalid image")
    assert "known formats" in message


@pytest.mark.parametrize(
    ("size", "kind"), [((1001, 50), "JPEG"), ((50, 1001), "PNG"), ((120_000, 1), "PNG")]
)
def test_beyond_twenty_to_one_depth_is_refused(
    service: Service, size: tuple[int, int], kind: str
) -> None:
    response = depth(service, encoded(Image.new("L", size), kind))
    assert "20:1" in check.error(response, 413)


def test_a_panorama_keeps_its_size(service: Service) -> None:
    data = encoded(picture(1200, 100).resize((12000, 1000)), "JPEG")
    assert check.depth_map(depth(service, data)).shape == (1000, 12000)


def test_a_thin_strip_can_be_embedded(service: Service) -> None:
    for size in ((1, 3000), (20000, 2)):
        files = {"image": ("a.png", encoded(Image.new("RGB", size)))}
        for image_size in ("224", "4096"):
            data = {"image_size": image_size}
            assert service.post("/embed-image", files=files, data=data).status_code == 200


def test_text_chunks_cannot_become_large(service: Service) -> None:
    bomb = zlib.compress(b"a" * 100_000_000)
    content = b"k\0\0" + bomb
    chunk = struct.pack(">I", len(content)) + b"zTXt" + content
    chunk += struct.pack(">I", zlib.crc32(b"zTXt" + content))
    data = PHOTO[:33] + chunk + PHOTO[33:]
    assert depth(service, data).status_code in (200, 400)


MODES: dict[str, tuple[Image.Image, str, dict[str, Any]]] = {
    "1": (picture(40, 30).convert("1"), "PNG", {}),
    "L": (picture(40, 30).convert("L"), "PNG", {}),
    "LA": (picture(40, 30).convert("LA"), "PNG", {}),
    "P": (picture(40, 30).quantize(32), "PNG", {}),
    "RGB": (picture(40, 30), "PNG", {}),
    "RGBA": (picture(40, 30).convert("RGBA"), "PNG", {}),
    "CMYK": (picture(40, 30).convert("CMYK"), "JPEG", {"quality": 95}),
    "YCbCr": (picture(40, 30).convert("YCbCr"), "JPEG", {"quality": 95}),
    "LAB": (picture(40, 30), "TIFF", {}),
    "HEIC": (picture(40, 30), "HEIF", {"quality": 95}),
    "AVIF": (picture(40, 30), "AVIF", {"quality": 95}),
}


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_shows_the_same_picture(mode: str) -> None:
    """A file of each mode decodes to the picture that it was made from."""
    image, kind, options = MODES[mode]
    decoded = images.decode(io.BytesIO(encoded(image, kind, **options)), 10**6).image
    assert (decoded.mode, decoded.size) == ("RGB", (40, 30))
    expected = np.asarray(image.convert("RGB"), float)
    assert np.abs(np.asarray(decoded, float) - expected).mean() < 6


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_the_orientation_counts_in_every_format_that_has_it(kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(picture(60, 40), kind, exif=exif.tobytes() if kind != "TIFF" else exif)
    assert images.decode(io.BytesIO(data), 10**6).size == (40, 60)


def test_a_profile_is_applied_and_a_broken_one_ignored() -> None:
    red = Image.new("RGB", (8, 8), (200, 30, 30))
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    same = images.decode(io.BytesIO(encoded(red, "PNG", icc_profile=lab)), 1000).image
    assert np.abs(np.asarray(same, int) - [200, 30, 30]).max() <= 1
    broken = images.decode(io.BytesIO(encoded(red, "PNG", icc_profile=b"no profile")), 1000).image
    assert broken.getpixel((0, 0)) == (200, 30, 30)


def test_a_photo_of_a_phone(service: Service) -> None:
    pillow_heif.register_heif_opener()
    data = encoded(picture(320, 240), "HEIF")
    assert check.depth_map(depth(service, data, "IMG_1.HEIC")).shape == (240, 320)
    assert check.depth_map(depth(service, rotated_jpeg(picture(320, 240)))).shape == (320, 240)
