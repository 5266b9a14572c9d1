# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests that frames are shown as players show them: upright, whole, and in the right colours."""

from __future__ import annotations

import io
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest

from app.errors import BadRequest
from tests.films import numbered as films
from tests.films.numbered import film, number_of, patches
from tests.unit.film_reading import Read, assert_near, levels

# Degrees counterclockwise, mirrored columns, mirrored rows -> what is done to the picture
TURNS = [
    ((-90, False, False), 90, lambda image: np.rot90(image, -1)),
    ((90, False, False), 270, lambda image: np.rot90(image)),
    ((180, False, False), 180, lambda image: np.rot90(image, 2)),
    ((0, True, False), 0, lambda image: image[:, ::-1]),
    ((0, False, True), 0, lambda image: image[::-1]),
]


@pytest.mark.parametrize(("turned", "degrees", "turn"), TURNS)
def test_upright(turned: tuple[float, bool, bool], degrees: int, turn: Any) -> None:
    straight = Read(film(count=2)).frames[1].image
    read = Read(film(count=2, turned=turned))
    assert read.info.rotation == degrees
    assert np.array_equal(read.frames[1].image, turn(straight))


def test_upright_av1_and_hevc() -> None:
    for codec in ("libsvtav1", "libx265"):
        read = Read(film(codec=codec, turned=(-90, False, False)))
        assert read.info.rotation == 90
        assert number_of(np.rot90(read.frames[1].image)) == 1


def test_square_pixels() -> None:
    wide = Read(film(count=3, aspect=Fraction(4, 3)))
    assert wide.info.size == (213, 96)
    high = Read(film("matroska", count=3, aspect=Fraction(2, 3)))
    assert high.info.size == (160, 144)
    for read in (wide, high):
        assert read.numbers == [0, 1, 2]
        assert_near(patches(read.frames[1].image), levels())
    turned = Read(film(count=2, aspect=Fraction(4, 3), turned=(-90, False, False)))
    assert turned.info.size == (96, 213)
    with pytest.raises(BadRequest, match="pixels are 20:1 wide"):
        Read(film(count=2, aspect=Fraction(20)))


TAGS = [
    ("709", False, {"colorspace": 1}),
    ("601", False, {"colorspace": 5}),
    ("601", False, {"colorspace": 6}),
    ("2020", False, {"colorspace": 9}),
    ("709", True, {"colorspace": 1, "color_range": 2}),
    ("601", True, {"colorspace": 5, "color_range": 2}),
    ("709", False, {"colorspace": 1, "color_range": 1}),
]


@pytest.mark.parametrize("layout", ["yuv420p", "yuv420p10le", "yuv444p"])
@pytest.mark.parametrize(("matrix", "is_full", "tags"), TAGS)
def test_colours(matrix: str, is_full: bool, tags: dict[str, int], layout: str) -> None:
    read = Read(film(count=1, matrix=matrix, is_full=is_full, tags=tags, layout=layout))
    assert_near(patches(read.frames[0].image), levels(), 3)


def test_colours_are_understood_by_size_where_nothing_is_said() -> None:
    assert_near(patches(Read(film(count=1, matrix="601")).frames[0].image), levels(), 3)
    large = film(count=1, matrix="709", size=(1280, 96))
    assert_near(patches(Read(large).frames[0].image), levels(), 3)


def test_black_and_white_are_reached() -> None:
    for is_full in (False, True):
        tags = {"colorspace": 1, "color_range": 2 if is_full else 1}
        grey = tuple((x, x, x) for x in (0.0, 1.0, 0.5, 0.1))
        read = Read(film(count=1, matrix="709", is_full=is_full, tags=tags, colours=grey))
        assert_near(patches(read.frames[0].image), levels(grey), 2)


def pq(nits: float) -> float:
    """SMPTE ST 2084."""
    m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
    y = (nits / 10_000) ** m1
    return float(((c1 + c2 * y) / (1 + c3 * y)) ** m2)


def hlg(light: float) -> float:
    """ARIB STD-B67, of the scene's light from 0 to 1."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return float(np.sqrt(3 * light) if light <= 1 / 12 else a * np.log(12 * light - b) + c)


# From BT.709 to BT.2020, linear: BT.2087, table 2.
TO_2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
# Light of BT.709 in cd/m2, dark enough to stay as it is.
LIGHTS = ((40.0, 8, 8), (8, 40, 12), (10, 12, 60), (50, 50, 50))
HDR = {"colorspace": 9, "color_primaries": films.BT2020}


def as_gamma(lights: Any) -> list[list[int]]:
    return [[round(255 * (x / 203) ** (1 / 2.4)) for x in light] for light in lights]


@pytest.mark.parametrize(("container", "codec"), [("mp4", "libx265"), ("matroska", "libsvtav1")])
def test_pq(container: str, codec: str) -> None:
    colours = [tuple(pq(x) for x in TO_2020 @ np.array(light)) for light in LIGHTS]
    data = film(
        container, codec, count=12, layout="yuv420p10le", matrix="2020", colours=colours,
        tags=HDR | {"color_trc": films.PQ},
    )  # fmt: skip
    read = Read(data)
    assert read.info.is_hdr
    assert read.numbers == list(range(12))
    assert_near(patches(read.frames[0].image), as_gamma(LIGHTS), 5)


def test_hlg() -> None:
    def code(light: Any) -> Any:
        screen = TO_2020 @ np.array(light) / 1000
        luminance = float(np.array([0.2627, 0.6780, 0.0593]) @ screen)
        return tuple(hlg(x * luminance ** (1 / 1.2 - 1)) for x in screen)

    data = film(
        codec="libx265", count=2, layout="yuv420p10le", matrix="2020",
        colours=[code(light) for light in LIGHTS], tags=HDR | {"color_trc": films.HLG},
    )  # fmt: skip
    read = Read(data)
    assert read.info.is_hdr
    assert_near(patches(read.frames[0].image), as_gamma(LIGHTS), 5)


def test_highlights_are_compressed_and_not_cut() -> None:
    colours = [(pq(x), pq(x), pq(x)) for x in (100, 203, 500, 1000)]
    data = film(
        codec="libx265", count=2, layout="yuv420p10le", matrix="2020",
        colours=colours, tags=HDR | {"color_trc": films.PQ},
    )  # fmt: skip
    greys = [patch[1] for patch in patches(Read(data).frames[0].image)]
    # 100 and 203 cd/m2 by hand, after BT.2390 for a peak of 1000 brought to 203
    assert_near(greys, [189, 230, 252, 255], 3)
    assert greys == sorted(greys)


def test_wide_colours_without_hdr() -> None:
    def code(light: Any) -> Any:
        return tuple((x / 203) ** (1 / 2.4) for x in TO_2020 @ np.array(light))

    data = film(
        codec="libx265", count=2, layout="yuv420p10le", matrix="2020",
        colours=[code(light) for light in LIGHTS], tags=HDR | {"color_trc": 14},
    )  # fmt: skip
    read = Read(data)
    assert not read.info.is_hdr
    assert_near(patches(read.frames[0].image), as_gamma(LIGHTS), 5)


def test_odd_sizes() -> None:
    for container, codec, options in (
        ("webm", "libvpx-vp9", {}),
        ("mp4", "libx264", {"layout": "yuv444p"}),
        ("avi", "mjpeg", {"layout": "yuvj420p", "is_full": True}),
    ):
        read = Read(film(container, codec, count=2, size=(161, 97), **options))
        assert read.info.size == (161, 97)
        assert read.numbers == [0, 1]
        assert_near(patches(read.frames[0].image), levels(), 6)


def test_transparent_parts_are_black() -> None:
    target = io.BytesIO()
    with av.open(target, "w", format="mov") as output:
        track = output.add_stream("prores_ks", rate=25, options={"profile": "4444"})
        track.width, track.height = films.SIZE
        track.pix_fmt = "yuva444p10le"
        image = np.full((96, 160, 4), (255, 255, 255, 255), np.uint8)
        image[:, :80, 3] = 0
        output.mux(track.encode(av.VideoFrame.from_ndarray(image, "rgba")))
        output.mux(track.encode(None))
    found = patches(Read(target.getvalue()).frames[0].image)
    assert_near(found, [[0] * 3, [0] * 3, [255] * 3, [255] * 3], 3)


def combed(container: str, count: int) -> bytes:
    """A film of which a white bar goes to the right, its even lines a moment before the odd."""
    target = io.BytesIO()
    with av.open(target, "w", format=container) as output:
        track = output.add_stream(
            "libx264", rate=25, options={"flags": "+ildct+ilme", "x264-params": "tff=1", "qp": "4"}
        )
        track.width, track.height, track.pix_fmt = 160, 96, "yuv420p"
        track.codec_context.gop_size = 4
        for i in range(count):
            image = np.full((96, 160, 3), 16, np.uint8)
            image[::2, 10 + 8 * i : 50 + 8 * i] = 235
            image[1::2, 14 + 8 * i : 54 + 8 * i] = 235
            frame = av.VideoFrame.from_ndarray(image)
            frame.pts = i
            output.mux(track.encode(frame))
        output.mux(track.encode(None))
    return target.getvalue()


@pytest.mark.parametrize("sampling", ["all", "keyframes"])
def test_interlaced_films_have_no_comb(sampling: str) -> None:
    data = combed("mpegts", 8)
    every = Read(data)
    assert every.times == [i / 25 for i in range(8)]
    read = Read(data, sampling=sampling)
    assert read.times == [
        float(frame.seconds) for frame in every.frames if sampling == "all" or frame.is_key
    ]
    for frame in read.frames[1:]:
        lines = frame.image[20:-20, :, 0].astype(int)
        assert np.abs(lines[1:] - lines[:-1]).max() < 60
        # and the bar is there
        assert lines.max() > 200
