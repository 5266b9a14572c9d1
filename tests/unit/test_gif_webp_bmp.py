# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests GIF, WebP and BMP: what Pillow alone gets wrong, and small files that cost much work."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from app.errors import BadRequest, TooLarge
from app.pictures.decode import decode
from benchmarks.service import PROJECT
from tests.pictures import encoded, picture

BUDGET = 1_000_000
FILES = PROJECT / "tests" / "pictures_people_have"
WHITE, RED = (255, 255, 255), (200, 50, 50)


def decoded(data: bytes, max_pixels: int = BUDGET) -> Image.Image:
    return decode(io.BytesIO(data), max_pixels).image


# --- tests of GIF files


def gif(canvas: tuple[int, int], corner: tuple[int, int], frame: bytes) -> bytes:
    """Make a GIF whose frame lies at ``corner`` of a canvas of another size.

    ``frame`` is a GIF file.
    """
    data = bytearray(frame)
    data[6:10] = struct.pack("<HH", *canvas)
    at = data.index(b",", 13 + (3 << (data[10] & 7) + 1))
    data[at + 1 : at + 5] = struct.pack("<HH", *corner)
    return bytes(data)


def red_gif(**options: object) -> bytes:
    image = Image.new("P", (20, 10), 1)
    image.putpalette([0, 0, 255, *RED])
    return encoded(image, "GIF", optimize=False, **options)


def test_what_the_first_frame_of_a_gif_leaves_free_is_white() -> None:
    image = decoded(gif((40, 30), (6, 4), red_gif()))
    assert image.size == (40, 30)
    assert (image.getpixel((0, 0)), image.getpixel((39, 29))) == (WHITE, WHITE)
    assert (image.getpixel((6, 4)), image.getpixel((25, 13))) == (RED, RED)
    assert (image.getpixel((5, 4)), image.getpixel((26, 13))) == (WHITE, WHITE)


@pytest.mark.parametrize("interlace", [0, 1])
@pytest.mark.parametrize("transparent", [0, 1, 200])
def test_the_transparent_colour_of_a_gif_is_white(transparent: int, interlace: int) -> None:
    data = red_gif(transparency=transparent, interlace=interlace)
    image = decoded(gif((40, 30), (6, 4), data))
    assert image.getpixel((0, 0)) == WHITE
    assert image.getpixel((10, 8)) == (WHITE if transparent == 1 else RED)


def test_the_gif_of_the_report_has_the_right_colours() -> None:
    image = decoded((FILES / "50_gif_part_of_canvas.gif").read_bytes())
    assert np.asarray(image)[[0, -1], [0, -1]].tolist() == [[255] * 3] * 2


def test_a_frame_beyond_the_canvas_of_a_gif_counts_in_the_budget() -> None:
    assert decoded(gif((10, 10), (6, 4), red_gif())).size == (26, 14)
    with pytest.raises(TooLarge, match="MAX_IMAGE_PIXELS"):
        decoded(gif((10, 10), (60_000, 60_000), red_gif()))


@pytest.mark.parametrize(
    "blocks", [b"!\xfe\0" * 300_000, b"x" * 300_000, b"!\xfe" + b"\1x" * 300_000]
)
def test_endless_notes_in_a_gif_are_refused(blocks: bytes) -> None:
    with pytest.raises(BadRequest, match="too many comment blocks"):
        decoded(b"GIF89a" + struct.pack("<HHBBB", 9, 9, 0, 0, 0) + blocks)


# --- tests of WebP files


def chunk(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)


def riff(*chunks: bytes) -> bytes:
    body = b"".join(chunks)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def three(*values: int) -> bytes:
    return b"".join(value.to_bytes(3, "little") for value in values)


def extended(flags: int, width: int, height: int) -> bytes:
    return chunk(b"VP8X", bytes([flags, 0, 0, 0]) + three(width - 1, height - 1))


@pytest.mark.parametrize("alpha", [0, 0x10])
@pytest.mark.parametrize("lossless", [False, True])
def test_what_the_first_frame_of_a_webp_leaves_free_is_white(alpha: int, lossless: bool) -> None:
    still = encoded(Image.new("RGB", (40, 30), RED), "WEBP", lossless=lossless)[12:]
    frame = chunk(b"ANMF", three(20 // 2, 10 // 2, 39, 29, 100) + b"\0" + still)
    start = chunk(b"ANIM", b"\0\0\xff\xff\0\0")  # a blue background, which browsers ignore
    image = decoded(riff(extended(2 | alpha, 100, 80), start, frame, frame))
    assert (image.getpixel((0, 0)), image.getpixel((60, 10))) == (WHITE, WHITE)
    assert np.abs(np.asarray(image)[20, 30].astype(int) - RED).max() <= 2


def test_the_canvas_of_a_webp_is_checked_before_it_is_allocated() -> None:
    still = encoded(picture(64, 64), "WEBP")[12:]
    with pytest.raises(TooLarge, match="16383x16383"):
        decoded(riff(extended(0, 16383, 16383), still))
    with pytest.raises(BadRequest):
        decoded(riff(extended(0, 50, 50), still))  # the frame is larger than the canvas


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.95])
def test_a_webp_that_was_cut_off_is_called_incomplete(kept: float) -> None:
    data = encoded(picture(100, 100), "WEBP")
    with pytest.raises(BadRequest, match="incomplete"):
        decoded(data[: int(len(data) * kept)])


def test_a_webp_of_countless_chunks_is_refused() -> None:
    still = encoded(picture(64, 64), "WEBP")[12:]
    with pytest.raises(BadRequest, match="too many parts"):
        decoded(riff(still, chunk(b"note", b"") * 100_000))


# --- tests of BMP files

RGB32 = (0xFF0000, 0xFF00, 0xFF)


def bmp(
    pixels: bytes,
    bits: int,
    compression: int = 0,
    *,
    size: tuple[int, int] = (8, 6),
    header: int = 40,
    masks: tuple[int, ...] = (),
    palette: bytes = b"",
) -> bytes:
    fields = (header, *size, 1, bits, compression, len(pixels), 0, 0, len(palette) // 4, 0)
    head = struct.pack("<IiiHHIIiiII", *fields) + struct.pack(f"<{len(masks)}I", *masks)
    head = head.ljust(header, b"\0") + palette
    start = 14 + len(head)
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + head + pixels


def four_bytes(alpha: list[int]) -> bytes:
    """Return 48 red pixels with the alpha values in turn; the picture's bottom row comes first."""
    return b"".join(bytes([50, 50, 200, alpha[i % len(alpha)]]) for i in range(48))


@pytest.mark.parametrize("header", [108, 124])
@pytest.mark.parametrize(
    ("alpha", "second"),
    [([0], RED), ([255], RED), ([255, 0], WHITE), ([0, 255], RED)],
)
def test_alpha_of_a_bmp_counts_unless_all_of_it_is_zero(
    header: int, alpha: list[int], second: tuple[int, ...]
) -> None:
    data = bmp(four_bytes(alpha), 32, 3, header=header, masks=(*RGB32, 0xFF000000))
    assert decoded(data).getpixel((1, 5)) == second


def test_the_fourth_byte_without_a_mask_is_no_alpha() -> None:
    assert decoded(bmp(four_bytes([0, 9]), 32)).getpixel((0, 0)) == RED
    assert decoded(bmp(four_bytes([0, 9]), 32, header=124)).getpixel((0, 0)) == RED


def test_kinds_of_bmp_that_are_read() -> None:
    rows = np.zeros((6, 8, 3), np.uint8)
    rows[:, :, 2] = 200
    rows[0] = (50, 50, 200)  # this is the top row; in a BMP, blue comes first
    flipped = rows[::-1].tobytes()
    system2 = struct.pack("<IHHHH", 12, 8, 6, 1, 24)
    files = {
        "from below": bmp(flipped, 24),
        "top down": bmp(rows.tobytes(), 24, size=(8, -6)),
        "OS/2": b"BM" + struct.pack("<IHHI", 0, 0, 0, 26) + system2 + flipped,
        "OS/2 version 2": bmp(flipped, 24, header=64),
        "565": bmp(
            np.where(np.arange(48) < 40, 25 << 11, 25 << 11 | 12 << 5 | 6).astype("<u2").tobytes(),
            16,
            3,
            header=52,
            masks=(0xF800, 0x7E0, 0x1F),
        ),
        "run lengths": bmp(
            b"\x08\0\0\0" * 5 + b"\x08\1\0\0\0\1",
            8,
            1,
            palette=bytes([0, 0, 200, 0, 50, 50, 200, 0]),
        ),
    }
    for name, data in files.items():
        image = np.asarray(decoded(data)).astype(int)
        assert np.abs(image[0] - RED).max() <= 8, name
        assert np.abs(image[1:] - (200, 0, 0)).max() <= 8, name


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (bmp(b"", 0, 4), "JPEG"),
        (bmp(b"", 0, 5), "PNG"),
        (bmp(bytes(96), 16, 3, header=56, masks=(0xF00, 0xF0, 0xF, 0xF000)), "unusual places"),
        (bmp(bytes(96), 24, header=16), "header of 16 bytes"),
        (bmp(bytes(96), 24, size=(0, 6)), "size of 0x6"),
        (bmp(bytes(96), 24, size=(-8, 6)), "size of -8x6"),
    ],
)
def test_kinds_of_bmp_that_are_not_read_are_named(data: bytes, reason: str) -> None:
    with pytest.raises(BadRequest, match=reason):
        decoded(data)


def test_a_bmp_of_short_runs_cannot_keep_a_core_busy() -> None:
    palette = bytes(8)
    with pytest.raises(BadRequest, match="run lengths"):
        decoded(bmp(b"\1\0\0\0" * 90, 8, 1, size=(50_000, 90), palette=palette), 10_000_000)
    with pytest.raises(BadRequest, match="run lengths"):
        decoded(bmp(b"\1\0" * 2_500_000, 8, 1, palette=palette))


def test_the_height_of_a_bmp_counts_whatever_its_sign() -> None:
    for height in (2**31 - 1, -(2**31)):
        with pytest.raises(TooLarge, match="8x2147483"):
            decoded(bmp(b"", 24, size=(8, height)))
