# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests that each kind of TIFF gives the picture stored in it, or an error that names the kind."""

from __future__ import annotations

import io
import lzma
import zlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms, TiffImagePlugin

from app.errors import BadRequest
from app.pictures import decode as images
from tests.pictures import encoded, picture
from tests.tiffs import Value, page, tiff

BUDGET = 1_000_000
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, CIELAB, ICCLAB = 0, 1, 2, 3, 5, 6, 8, 9

PHOTO = np.asarray(picture(61, 45))
GREY = np.asarray(picture(61, 45).convert("L"))
ALPHA = np.linspace(0, 255, GREY.size).astype(np.uint8).reshape(GREY.shape)


def decode(data: bytes) -> NDArray[np.int64]:
    return np.asarray(images.decode(io.BytesIO(data), BUDGET).image).astype(np.int64)


def grey(data: bytes) -> NDArray[np.int64]:
    pixels = decode(data)
    assert np.ptp(pixels, axis=2).max() == 0
    return pixels[..., 0]


def packed(values: NDArray[Any], bits: int) -> bytes:
    """Pack samples without gaps between them; each row starts with a new byte."""
    shifts = np.arange(bits - 1, -1, -1)
    rows = (values[..., None] >> shifts & 1).reshape(len(values), -1)
    return np.packbits(rows.astype(np.uint8), axis=1).tobytes()


def on_white(colours: NDArray[Any], alpha: NDArray[Any]) -> NDArray[Any]:
    part = alpha[..., None] / 255
    return np.rint(colours * part + 255 * (1 - part))


# --- tests of samples: their types, bits and byte orders


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_rgb_in_either_byte_order_and_in_bigtiff(order: str, big: bool, dtype: str) -> None:
    factor = 257 if dtype == "u2" else 1
    pixels = (PHOTO.astype(int) * factor).astype(order + dtype)
    assert np.array_equal(decode(tiff(page(pixels, RGB), order=order, big=big)), PHOTO)


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_number_42_turned_round_leads_to_no_other_reader(
    order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A TIFF whose number 42 has its bytes swapped is read by our own reader.

    Pillow accepts such a file, too, but would read it without our limits.
    """
    data = tiff(page(PHOTO, RGB), order=order)
    monkeypatch.delattr(Image, "open")
    assert np.array_equal(decode(data[:2] + data[3:1:-1] + data[4:]), PHOTO)


@pytest.mark.parametrize("photometric", [WHITE_IS_ZERO, BLACK_IS_ZERO])
@pytest.mark.parametrize(
    ("dtype", "white"),
    [("u1", 255), ("u2", 65535), ("u4", 2**32 - 1), ("f2", 1), ("f4", 1), ("f8", 1), ("f4", 255)],
)
def test_grey_keeps_its_range(photometric: int, dtype: str, white: int) -> None:
    values = 255 - GREY if photometric == WHITE_IS_ZERO else GREY
    pixels = (values / 255 * white).astype(dtype)
    shown = grey(tiff(page(pixels, photometric)))
    assert np.abs(shown - GREY.astype(int)).max() <= 1


@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "f4"])
def test_values_below_zero_are_stretched(dtype: str) -> None:
    values = np.array([[-100, -50], [0, 100]], dtype)
    shown = grey(tiff(page(values, BLACK_IS_ZERO)))
    assert np.abs(shown - [[0, 63.75], [127.5, 255]]).max() <= 1


def test_wide_numbers_without_a_customary_range_are_stretched() -> None:
    values = np.array([[1000, 2000], [2000, 3000]], np.uint32)
    assert grey(tiff(page(values, BLACK_IS_ZERO))).tolist() == [[0, 128], [128, 255]]


@pytest.mark.parametrize("bits", range(1, 17))
@pytest.mark.parametrize("photometric", [WHITE_IS_ZERO, BLACK_IS_ZERO])
def test_any_number_of_bits(bits: int, photometric: int) -> None:
    white = (1 << bits) - 1
    values = np.rint(GREY / 255 * white).astype(int)
    stored = white - values if photometric == WHITE_IS_ZERO else values
    one = page(GREY, photometric, {258: bits, 339: 1}, chunks=[packed(stored, bits)])
    order = ">" if bits == 16 else "<"
    assert np.array_equal(grey(tiff(one, order=order)), np.rint(values * 255 / white))


def test_twelve_bits_in_sixteen_where_the_file_says_so() -> None:
    twelve = (GREY.astype(np.uint16) * 16).astype("<u2")
    assert np.abs(grey(tiff(page(twelve, BLACK_IS_ZERO, {281: 4095}))) - GREY).max() <= 1
    full = GREY.astype("<u2") * 257  # here entry 281 is only a statistic, and wrong
    assert np.array_equal(grey(tiff(page(full, BLACK_IS_ZERO, {281: 1023}))), GREY)


@pytest.mark.parametrize("bits", [1, 4, 8, 16])
@pytest.mark.parametrize("eight_bit_map", [False, True])
def test_palettes(bits: int, eight_bit_map: bool) -> None:
    indices = np.arange(GREY.size).reshape(GREY.shape) % min(1 << bits, 200)
    colours = PHOTO.reshape(-1, 3)[np.arange(1 << bits) % 200]
    table = (colours.T.astype(int) * (1 if eight_bit_map else 257)).ravel().tolist()
    one = page(GREY, PALETTE, {258: bits, 320: table}, chunks=[packed(indices, bits)])
    assert np.array_equal(decode(tiff(one, order=">")), colours[indices])


@pytest.mark.parametrize("dtype", ["<u1", "<u2"])
def test_planes_for_each_channel(dtype: str) -> None:
    factor = 257 if dtype == "<u2" else 1
    planes = [(PHOTO[..., channel].astype(int) * factor).astype(dtype) for channel in range(3)]
    rows = [plane[top : top + 16].tobytes() for plane in planes for top in (0, 16, 32)]
    pixels = (PHOTO.astype(int) * factor).astype(dtype)
    assert np.array_equal(decode(tiff(page(pixels, RGB, {284: 2, 278: 16}, chunks=rows))), PHOTO)


# --- tests of strips, tiles and compression


def tiles(pixels: NDArray[Any], width: int, height: int) -> list[bytes]:
    rows, columns = pixels.shape[:2]
    padding = ((0, -rows % height), (0, -columns % width), (0, 0))[: pixels.ndim]
    full = np.pad(pixels, padding, mode="edge")
    return [
        full[top : top + height, left : left + width].tobytes()
        for top in range(0, rows, height)
        for left in range(0, columns, width)
    ]


@pytest.mark.parametrize("compress", [None, zlib.compress, lzma.compress])
@pytest.mark.parametrize("tiled", [False, True])
def test_strips_and_tiles(compress: Any, tiled: bool) -> None:
    strips = [PHOTO[top : top + 7].tobytes() for top in range(0, 45, 7)]
    chunks = tiles(PHOTO, 16, 32) if tiled else strips
    number = {None: 1, zlib.compress: 8, lzma.compress: 34925}[compress]
    entries: dict[int, Value] = {259: number, **({322: 16, 323: 32} if tiled else {278: 7})}
    chunks = [compress(chunk) if compress else chunk for chunk in chunks]
    assert np.array_equal(decode(tiff(page(PHOTO, RGB, entries, chunks=chunks))), PHOTO)


@pytest.mark.parametrize("name", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "lzma", "zstd"])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "CMYK", "P"])
def test_compressions_that_lose_nothing(name: str, mode: str) -> None:
    image = picture(61, 45).convert(mode)
    expected = np.asarray(image.convert("RGB"))
    assert np.abs(decode(encoded(image, "TIFF", compression=name)) - expected).max() <= 1


@pytest.mark.parametrize("tiled", [False, True])
def test_webp(tiled: bool) -> None:
    flat = np.full((48, 64, 3), (220, 40, 40), np.uint8)
    block = flat[:16, :32] if tiled else flat[:16]
    chunks = [encoded(Image.fromarray(block), "WEBP", lossless=True)] * (6 if tiled else 3)
    size: dict[int, Value] = {322: 32, 323: 16} if tiled else {278: 16}
    assert np.array_equal(decode(tiff(page(flat, RGB, {259: 50001, **size}, chunks=chunks))), flat)


@pytest.mark.parametrize("name", ["group3", "group4", "tiff_ccitt"])
@pytest.mark.parametrize("photometric", [WHITE_IS_ZERO, BLACK_IS_ZERO])
def test_fax(name: str, photometric: int) -> None:
    bits = np.asarray(picture(61, 45).convert("1"))
    stored = Image.fromarray(bits if photometric == BLACK_IS_ZERO else ~bits)
    data = bytearray(encoded(stored, "TIFF", compression=name))
    with Image.open(io.BytesIO(data)) as written:
        assert isinstance(written, TiffImagePlugin.TiffImageFile)
        assert written.tag_v2[262] == BLACK_IS_ZERO
    entry = data.index(b"\x06\x01\x03\0\x01\0\0\0")  # finds the photometric interpretation
    data[entry + 8] = photometric
    assert np.array_equal(grey(bytes(data)) > 127, bits)


@pytest.mark.parametrize("dtype", ["<u1", "<u2", ">u2", "<u4", ">u4"])
@pytest.mark.parametrize("tiled", [False, True])
def test_differences_of_neighbours(dtype: str, tiled: bool) -> None:
    white = np.iinfo(np.dtype(dtype)).max
    pixels = (PHOTO.astype(np.uint64) * (white // 255)).astype(dtype)
    blocks = tiles(pixels, 16, 16) if tiled else [pixels.tobytes()]
    width = 16 if tiled else 61
    chunks = []
    for block in blocks:
        values = np.frombuffer(block, dtype).reshape(-1, width, 3).copy()
        values[:, 1:] -= values[:, :-1].copy()
        chunks.append(zlib.compress(values.tobytes()))
    entries: dict[int, Value] = {259: 8, 317: 2, **({322: 16, 323: 16} if tiled else {})}
    data = tiff(page(pixels, RGB, entries, chunks=chunks), order=dtype[0])
    assert np.abs(decode(data) - PHOTO).max() <= 1


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("size", [2, 4, 8])
def test_differences_of_floats(order: str, size: int) -> None:
    pixels = (PHOTO / 255).astype(f">f{size}")
    rows = np.frombuffer(pixels.tobytes(), np.uint8).reshape(45, 61 * 3, size)
    planes = rows.transpose(0, 2, 1).reshape(45, -1).copy()
    planes[:, 3:] -= planes[:, :-3].copy()
    one = page(pixels, RGB, {259: 8, 317: 3}, chunks=[zlib.compress(planes.tobytes())])
    assert np.abs(decode(tiff(one, order=order)) - PHOTO).max() <= 1


def test_reversed_bits() -> None:
    reverse = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))
    for number, data in ((1, PHOTO.tobytes()), (8, zlib.compress(PHOTO.tobytes()))):
        one = page(PHOTO, RGB, {259: number, 266: 2}, chunks=[data.translate(reverse)])
        assert np.array_equal(decode(tiff(one)), PHOTO)


STORED = {  # how a file of each orientation stores an upright picture
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("orientation", STORED)
def test_the_orientation_is_applied_once(orientation: int) -> None:
    stored = np.asarray(Image.fromarray(PHOTO).transpose(STORED[orientation]))
    assert np.array_equal(decode(tiff(page(stored, RGB, {274: orientation}))), PHOTO)


# --- tests of colours and transparency


@pytest.mark.parametrize("premultiplied", [False, True])
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_transparency_is_white(premultiplied: bool, dtype: str) -> None:
    factor = 257 if dtype == "u2" else 1
    for colours, photometric in ((PHOTO, RGB), (GREY[..., None], BLACK_IS_ZERO)):
        stored = colours * (ALPHA[..., None] / 255) if premultiplied else colours
        samples = np.concatenate([stored, ALPHA[..., None]], 2).astype(float)
        pixels = np.rint(samples * factor).astype(dtype)
        data = tiff(page(pixels, photometric, {338: 1 if premultiplied else 2}))
        assert np.abs(decode(data) - on_white(colours, ALPHA)).max() <= 2


def test_an_extra_channel_that_is_no_transparency_is_ignored() -> None:
    pixels = np.dstack([PHOTO, ALPHA])
    assert np.array_equal(decode(tiff(page(pixels, RGB, {338: 0}))), PHOTO)


@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_cmyk(dtype: str) -> None:
    inks = np.asarray(Image.fromarray(PHOTO).convert("CMYK"))
    pixels = (inks.astype(int) * (257 if dtype == "u2" else 1)).astype(dtype)
    assert np.abs(decode(tiff(page(pixels, CMYK))) - PHOTO).max() <= 1


@pytest.mark.parametrize("photometric", [CIELAB, ICCLAB])
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_lab(photometric: int, dtype: str) -> None:
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    image = ImageCms.profileToProfile(Image.fromarray(PHOTO), *profiles, outputMode="LAB")
    assert image is not None
    lab = np.asarray(image).astype(int) ^ [0, 128, 128]  # adds 128 to a* and b*
    lightness, chroma = lab[..., :1], lab[..., 1:]
    if dtype == "u2":
        lightness = lightness * (257 if photometric == CIELAB else 256)
        chroma = chroma * 256
    if photometric == CIELAB:
        half = 128 if dtype == "u1" else 32768
        chroma = (chroma - half) % (2 * half)
    pixels = np.concatenate([lightness, chroma], 2).astype(dtype)
    assert np.abs(decode(tiff(page(pixels, photometric))) - PHOTO).mean() < 3


@pytest.mark.parametrize("factors", [(1, 1), (2, 1), (2, 2), (1, 2), (4, 2)])
def test_ycbcr_with_coarse_chroma(factors: tuple[int, int]) -> None:
    across, down = factors
    flat = np.full((45, 61, 3), (200, 80, 30), np.uint8)
    ycbcr = np.asarray(Image.fromarray(flat).convert("YCbCr"))
    padded = np.pad(ycbcr, ((0, -45 % down), (0, -61 % across), (0, 0)), mode="edge")
    units = padded.reshape(-(-45 // down), down, -(-61 // across), across, 3)
    luma = units[..., 0].transpose(0, 2, 1, 3).reshape(*units.shape[::2][:2], -1)
    data = np.concatenate([luma, units[:, 0, :, 0, 1:]], 2).tobytes()
    one = page(flat, YCBCR, {530: list(factors)}, chunks=[data])
    assert np.abs(decode(tiff(one)) - flat).max() <= 2


def jpeg_chunks(pixels: NDArray[Any], rows: int, **options: Any) -> list[bytes]:
    return [
        encoded(Image.fromarray(pixels[top : top + rows]), "JPEG", quality=95, **options)
        for top in range(0, len(pixels), rows)
    ]


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("photometric", [RGB, YCBCR])
def test_jpeg_strips_of_ycbcr_whatever_the_file_calls_them(
    subsampling: int, photometric: int
) -> None:
    chunks = jpeg_chunks(PHOTO, 16, subsampling=subsampling)
    data = tiff(page(PHOTO, photometric, {259: 7, 278: 16}, chunks=chunks))
    assert np.abs(decode(data) - PHOTO).mean() < 4


@pytest.mark.parametrize("photometric", [RGB, YCBCR])
def test_jpeg_strips_of_rgb_whatever_the_file_calls_them(photometric: int) -> None:
    flat = np.full((48, 64, 3), (220, 40, 40), np.uint8)
    flat[16:] = (230, 230, 225)
    chunks = jpeg_chunks(flat, 16, keep_rgb=True)
    data = tiff(page(flat, photometric, {259: 7, 278: 16}, chunks=chunks))
    assert np.abs(decode(data) - flat).mean() < 4


def test_jpeg_with_the_range_of_video() -> None:
    flat = np.full((16, 16, 3), (200, 80, 30), np.uint8)
    ycbcr = np.asarray(Image.fromarray(flat).convert("YCbCr")).astype(float)
    ycbcr = np.rint(ycbcr * [219 / 255, 224 / 254, 224 / 254] + [16, 16, 16]).astype(np.uint8)
    chunks = jpeg_chunks(ycbcr, 16, keep_rgb=True)
    entries: dict[int, Value] = {259: 7, 532: [16, 235, 128, 240, 128, 240]}
    assert np.abs(decode(tiff(page(flat, YCBCR, entries, chunks=chunks))) - flat).max() <= 6


def test_jpeg_of_cmyk_is_not_inverted() -> None:
    inks = np.asarray(Image.fromarray(PHOTO).convert("CMYK"))
    inverted = Image.merge("CMYK", [Image.fromarray(255 - inks[..., i]) for i in range(4)])
    chunks = [encoded(inverted, "JPEG", quality=95)]  # Pillow inverts the inks when it saves
    data = tiff(page(inks, CMYK, {259: 7}, chunks=chunks))
    assert np.abs(decode(data) - PHOTO).mean() < 4


def test_jpeg_of_grey_with_transparency_is_refused_by_its_name() -> None:
    data = io.BytesIO()
    Image.new("LA", (64, 48), (90, 128)).save(data, "TIFF", compression="jpeg")
    with pytest.raises(BadRequest, match="JPEG compression of 2 channels"):
        decode(data.getvalue())


@pytest.mark.parametrize("compression", ["jpeg", "tiff_lzw"])
def test_a_profile_is_applied(compression: str) -> None:
    red = Image.new("RGB", (32, 32), (200, 30, 30))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = encoded(red, "TIFF", compression=compression, icc_profile=profile)
    assert np.abs(decode(data)[0, 0] - [200, 30, 30]).max() <= 3


# --- unsupported kinds of TIFF: the error says which kind it is


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({259: 6}, "old-style JPEG"),
        ({259: 33003}, "JPEG 2000"),
        ({259: 34712}, "JPEG 2000"),
        ({259: 50002}, "JPEG XL"),
        ({259: 34887}, "LERC"),
        ({259: 34661}, "JBIG"),
        ({259: 32809}, "ThunderScan"),
        ({259: 12345}, "12345"),
        ({262: 32845}, "LogLuv"),
        ({262: 4}, "mask"),
        ({262: 777}, "777"),
        ({262: CMYK, 277: 4, 258: [8] * 4, 332: 2}, "inks"),
        ({258: [5, 6, 5]}, "different types"),
        ({339: [6, 6, 6], 258: [64] * 3}, "complex"),
        ({258: [24] * 3}, "24-bit"),
    ],
)
def test_what_is_not_read_is_refused_by_its_name(entries: dict[int, Value], words: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        decode(tiff(page(PHOTO, RGB, {339: [1, 1, 1], **entries})))
    assert words in refusal.value.message
    assert "damaged" not in refusal.value.message
    assert "known formats" not in refusal.value.message
