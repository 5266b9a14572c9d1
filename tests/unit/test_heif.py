# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests HEIC and AVIF files that are incomplete, inconsistent or unusual."""

from __future__ import annotations

import io
import struct
from functools import cache
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app.errors import BadRequest, TooLarge
from app.pictures import boxes, heif
from app.pictures.decode import decode
from benchmarks.service import PROJECT
from tests.heif_files import Part, box, coded, full, grid, ispe, overlay
from tests.heif_files import heif as built
from tests.pictures import encoded, picture

BUDGET = 1_000_000
FILES = PROJECT / "tests" / "pictures_people_have"


def decoded(data: bytes, max_pixels: int = BUDGET) -> Image.Image:
    return decode(io.BytesIO(data), max_pixels).image


def difference(image: Image.Image, expected: Image.Image) -> float:
    """Return the mean difference of two pictures, in levels from 0 to 255."""
    pair = np.asarray(image, np.int16), np.asarray(expected.convert("RGB"), np.int16)
    return float(np.abs(pair[0] - pair[1]).mean())


@cache
def file_of(kind: str, width: int = 300, height: int = 200, **options: Any) -> bytes:
    return encoded(picture(width, height), kind, **options)


@cache
def tiled() -> bytes:
    """Make a picture of 1000x700 pixels in twelve tiles, as phones write it."""
    return file_of("HEIF", 1000, 700, tile_size=256)


def tile_places() -> list[tuple[int, int]]:
    found = boxes.structure(io.BytesIO(tiled()))
    tiles = found.items[found.primary or 0].references[b"dimg"]
    return [found.items[number].extents[0] for number in tiles]


@pytest.mark.parametrize(
    "name",
    ["14b_heic_cut_grid_first_95_percent.heic", "14_heic_broken_grid_one_tile_beyond.heic"],
)
def test_a_file_that_lacks_tiles_is_called_incomplete(name: str) -> None:
    with pytest.raises(BadRequest, match=r"incomplete.*upload it again"):
        decoded((FILES / name).read_bytes(), 100_000_000)


def test_a_file_without_decoder_configuration_says_so() -> None:
    with pytest.raises(BadRequest, match="hvcC"):
        decoded((FILES / "14_heic_broken_no_hvcC.heic").read_bytes())


@pytest.mark.parametrize("kind", ["tiles", "HEIF", "AVIF"])
@pytest.mark.parametrize("kept", [0.02, 0.3, 0.7, 0.98])
@pytest.mark.parametrize("filling", [b"", b"\0", b"\xff"], ids=["cut", "zeros", "ones"])
def test_an_upload_that_broke_off_is_called_incomplete(
    kind: str, kept: float, filling: bytes
) -> None:
    data = tiled() if kind == "tiles" else file_of(kind)
    rest = data[: int(len(data) * kept)]
    rest += filling * (len(data) - len(rest))
    with pytest.raises(BadRequest, match=r"incomplete|damaged") as refusal:
        decoded(rest)
    # A file that breaks off early may look damaged instead, because its tables are cut or
    # overwritten.
    assert "incomplete" in refusal.value.message or kept < 0.5


@pytest.mark.parametrize("tile", [0, 5, 11])
def test_a_tile_that_cannot_be_decoded_is_not_left_green(tile: int) -> None:
    offset, length = tile_places()[tile]
    data = bytearray(tiled())
    data[offset + 6 : offset + length] = bytes(i * 37 % 255 + 1 for i in range(length - 6))
    with pytest.raises(BadRequest, match="damaged"):
        decoded(bytes(data))


def test_a_picture_in_the_green_of_missing_tiles_is_answered() -> None:
    green = Image.new("RGB", (600, 400), (0, 135, 0))
    assert decoded(encoded(green, "HEIF", tile_size=256)).getpixel((300, 200)) == (0, 135, 0)


def test_tiles_are_answered_as_one_picture() -> None:
    assert difference(decoded(tiled()), picture(1000, 700)) < 5


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_the_size_in_the_file_must_be_the_size_of_the_picture(kind: str) -> None:
    data = bytearray(file_of(kind))
    at = data.index(b"ispe") + 8
    data[at : at + 8] = struct.pack(">II", 64, 64)
    with pytest.raises(BadRequest, match="300x200 pixels where the file says 64x64"):
        decoded(bytes(data))
    with pytest.raises(TooLarge, match=r"60000 pixels \(300x200\).*MAX_IMAGE_PIXELS"):
        decoded(bytes(data), 50_000)


def test_the_budget_holds_for_each_frame_size_of_a_sequence() -> None:
    frames = [picture(100, 80, seed) for seed in (1, 2)]
    data = encoded(frames[0], "AVIF", save_all=True, append_images=frames[1:])
    assert difference(decoded(data), frames[0]) < 5
    with pytest.raises(TooLarge, match="100x80"):
        decoded(data, 5000)
    with pytest.raises(BadRequest, match="incomplete"):
        decoded(data[:-20])


def test_one_tile_a_thousand_times_counts_a_thousand_times() -> None:
    tile = coded(picture(64, 64))
    data = built([grid(1, 4, (256, 64), [2] * 4), tile])
    assert decoded(data).size == (256, 64)
    lie = built([grid(100, 100, (64, 64), [2] * 10_000), tile])
    with pytest.raises(TooLarge, match="MAX_IMAGE_PIXELS"):
        decoded(lie)


@pytest.mark.parametrize("version", [0, 1, 2])
def test_tiles_may_lie_in_any_kind_of_item_location(version: int) -> None:
    parts = [grid(1, 2, (128, 64), [2, 3]), coded(picture(64, 64)), coded(picture(64, 64, 2))]
    image = decoded(built(parts, version=version))
    assert difference(image.crop((64, 0, 128, 64)), picture(64, 64, 2)) < 5


def test_a_grid_without_all_its_tiles_is_incomplete() -> None:
    with pytest.raises(BadRequest, match="incomplete"):
        decoded(built([grid(2, 2, (128, 128), [2, 2]), coded(picture(64, 64))]))
    with pytest.raises(BadRequest, match="incomplete"):
        decoded(built([grid(1, 2, (128, 64), [2, 9]), coded(picture(64, 64))]))


def test_overlays_are_within_the_budget() -> None:
    parts = [overlay((64, 64), [2]), coded(picture(64, 64))]
    assert difference(decoded(built(parts)), picture(64, 64)) < 5
    with pytest.raises(TooLarge, match="60000x60000"):
        decoded(built([overlay((60_000, 60_000), [2]), parts[1]]))


def test_images_that_are_made_of_each_other_are_refused() -> None:
    circle = Part(b"iden", b"", [ispe(64, 64)], {b"dimg": [1]})
    with pytest.raises(BadRequest, match="too many others"):
        decoded(built([circle]))
    wide = [overlay((64, 64), [n + 1] * 2000) for n in range(1, 5)]
    with pytest.raises((BadRequest, TooLarge)):
        decoded(built([*wide, coded(picture(64, 64))]))


def test_metadata_that_libheif_would_copy_a_thousand_times_is_refused() -> None:
    notes = Part(b"Exif", bytes(200_000), [], {b"cdsc": [1] * 1000})
    with pytest.raises(BadRequest, match="metadata"):
        decoded(built([coded(picture(64, 64)), notes]))


@pytest.mark.parametrize("of_the_tile", [False, True])
def test_an_alpha_channel_is_checked_as_the_picture_is(of_the_tile: bool) -> None:
    alpha = coded(picture(64, 64).convert("L"))
    alpha.properties.append(full(b"auxC", b"urn:mpeg:hevc:2015:auxid:1\0"))
    alpha.references = {b"auxl": [2 if of_the_tile else 1]}
    parts = [grid(1, 2, (128, 64), [2, 2]), coded(picture(64, 64)), alpha]
    assert decoded(built(parts)).size == (128, 64)
    alpha.data = alpha.data[:-20] + bytes(20)
    with pytest.raises(BadRequest, match="incomplete"):
        decoded(built(parts))


def test_an_avif_picture_may_carry_the_general_brand() -> None:
    data = built([coded(picture(64, 64), "AVIF")], brand=b"mif1")
    compatible = data.replace(b"mif1mif1", b"mif1avif")  # libavif requires its own brand, too
    assert difference(decoded(compatible), picture(64, 64)) < 5


def test_other_codecs_are_named() -> None:
    part = coded(picture(64, 64))
    part.kind = b"vvc1"
    with pytest.raises(BadRequest, match=r"type 'vvc1'.*not supported"):
        decoded(built([part]))


def test_more_than_a_thousand_items_are_read() -> None:
    tiles = grid(30, 40, (40 * 64, 30 * 64), [2 + n for n in range(1200)])
    data = built([tiles, *([coded(picture(64, 64))] * 1200)])
    assert decoded(data, 5_000_000).size == (2560, 1920)


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
@pytest.mark.parametrize(
    ("primaries", "transfer", "expected"),
    [
        (1, 13, (200, 100, 50)),
        (1, 1, (200, 100, 50)),  # BT.709, treated as sRGB
        (2, 2, (200, 100, 50)),
        (12, 13, (215, 93, 31)),  # Display P3
        (9, 16, (255, 40, 0)),  # PQ
        (9, 18, (242, 73, 18)),  # HLG
    ],
)
def test_code_points_of_a_colour_space_are_applied(
    kind: str, primaries: int, transfer: int, expected: tuple[int, ...]
) -> None:
    options: dict[str, Any] = {"subsampling": "4:4:4"}
    if kind == "HEIF":
        options = {"quality": -1, "chroma": 444}
    data = bytearray(encoded(Image.new("RGB", (64, 64), (200, 100, 50)), kind, **options))
    at = data.index(b"nclx") + 4
    data[at : at + 4] = struct.pack(">HH", primaries, transfer)
    pixel = np.asarray(decoded(bytes(data)))[32, 32].astype(int)
    assert np.abs(pixel - expected).max() <= 4


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_turned_pictures_are_upright(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(picture(60, 40), kind, exif=exif.tobytes())
    turns = {1: 0, 3: 180, 6: 270, 8: 90}[orientation]
    assert difference(decoded(data), picture(60, 40).rotate(turns, expand=True)) < 6


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
@pytest.mark.parametrize("damage", [b"junkjunk", bytes(8), b"MM\0*\0\0\0\xff"])
def test_damaged_exif_is_no_reason_to_refuse(kind: str, damage: bytes) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "Camera"
    note = exif.tobytes()
    data = encoded(picture(60, 40), kind, exif=note).replace(note[6:14], damage)
    assert damage in data
    assert decoded(data).size == (40, 60)


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_the_visible_part_is_cut_out(kind: str) -> None:
    part = coded(picture(64, 64), kind)
    part.properties.append(box(b"clap", struct.pack(">IIIIiIiI", 32, 1, 16, 1, -16, 1, -24, 1)))
    brand = b"avif" if kind == "AVIF" else b"heic"
    image = decoded(built([part], brand=brand))
    assert difference(image, picture(64, 64).crop((0, 0, 32, 16))) < 6


def test_a_video_is_no_image() -> None:
    video = box(b"ftyp", b"isom", bytes(4), b"isom") + box(b"moov", bytes(100))
    with pytest.raises(BadRequest, match="an MP4 or QuickTime video"):
        decoded(video)
    sequence = box(b"ftyp", b"msf1", bytes(4), b"msf1") + box(b"moov", bytes(100))
    with pytest.raises(BadRequest, match="sequence without a still picture"):
        decoded(sequence)


@pytest.mark.parametrize("seed", range(3))
def test_mutated_structures_are_refused_or_read_but_never_crash(seed: int) -> None:
    random = np.random.default_rng(seed)
    for data in (tiled(), file_of("HEIF"), file_of("AVIF")):
        for _ in range(100):
            broken = bytearray(data)
            for place in random.integers(0, min(len(data), 1500), 3):
                broken[place] = random.integers(0, 256)
            try:
                heif.check(io.BytesIO(broken), BUDGET)
                heif.details(io.BytesIO(broken))
            except (BadRequest, TooLarge):
                pass


def test_too_many_boxes_are_refused() -> None:
    head = box(b"ftyp", b"heic", bytes(4), b"heic")
    with pytest.raises(BadRequest, match="too many boxes"):
        decoded(head + box(b"free") * 5000)
    with pytest.raises(BadRequest, match="too many boxes"):
        decoded(head + full(b"meta", box(b"free") * 50_000))
