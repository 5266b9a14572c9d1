# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests that a JPEG without its end marker is answered, and one without all its pixels is not."""

from __future__ import annotations

import io
from functools import cache
from typing import Any

import numpy as np
import pytest

from app.errors import BadRequest
from app.pictures.decode import decode, in_full
from tests.pictures import encoded, picture

OPTIONS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "optimised tables": {"optimize": True},
    "no subsampling": {"subsampling": 0},
    "progressive": {"progressive": True},
    "restart markers": {"restart_marker_rows": 1},
}
ENDS = {"nothing": b"", "zeros": bytes(5000), "ones": b"\xff" * 5000, "a trailer": b"SEFT" * 20}


@cache
def jpeg(kind: str) -> bytes:
    return encoded(picture(320, 240), "JPEG", quality=90, **OPTIONS[kind])


def quarter(width: int, height: int) -> tuple[int, int]:
    return width // 4, height // 4


@pytest.mark.parametrize("kind", OPTIONS)
@pytest.mark.parametrize("end", ENDS)
def test_without_an_end_marker_the_pixels_are_the_same(kind: str, end: str) -> None:
    data = jpeg(kind)
    for decode_size in (in_full, quarter):
        whole = decode(io.BytesIO(data), 10**6, decode_size).image
        found = decode(io.BytesIO(data[:-2] + ENDS[end]), 10**6, decode_size).image
        assert np.array_equal(np.asarray(found), np.asarray(whole))


@pytest.mark.parametrize("kind", OPTIONS)
@pytest.mark.parametrize("end", ["nothing", "zeros", "ones"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8, 0.95, 0.99])
def test_without_its_last_pixels_it_is_refused(kind: str, end: str, share: float) -> None:
    cut = jpeg(kind)[: int(share * len(jpeg(kind)))] + ENDS[end]
    for decode_size in (in_full, quarter):
        with pytest.raises(BadRequest, match="broke off"):
            decode(io.BytesIO(cut), 10**6, decode_size)


@pytest.mark.parametrize("kind", sorted({*OPTIONS} - {"progressive"}))
def test_an_end_marker_after_missing_rows_does_not_help(kind: str) -> None:
    cut = jpeg(kind)[: len(jpeg(kind)) // 2] + b"\xff\xd9"
    for decode_size in (in_full, quarter):
        with pytest.raises(BadRequest, match="broke off"):
            decode(io.BytesIO(cut), 10**6, decode_size)


@pytest.mark.parametrize("kind", sorted({*OPTIONS} - {"progressive"}))
@pytest.mark.parametrize("size", [(203, 117), (193, 113), (200, 161), (161, 200)])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_nor_where_the_last_block_is_a_few_pixels_only(
    kind: str, size: tuple[int, int], mode: str
) -> None:
    whole = encoded(picture(*size).convert(mode), "JPEG", quality=90, **OPTIONS[kind])
    for decode_size in (in_full, quarter):
        decode(io.BytesIO(whole), 10**6, decode_size)
        for share in (0.9, 0.97):
            with pytest.raises(BadRequest, match="broke off"):
                decode(
                    io.BytesIO(whole[: int(share * len(whole))] + b"\xff\xd9"), 10**6, decode_size
                )


def test_a_grey_corner_is_no_reason_to_refuse() -> None:
    image = picture(320, 240)
    image.paste((128, 128, 128), (160, 120, 320, 240))
    for data in (encoded(image, "JPEG"), encoded(image, "JPEG", progressive=True)):
        assert decode(io.BytesIO(data), 10**6).size == (320, 240)


def test_a_second_picture_in_the_file_leaves_reduced_decoding_to_the_first() -> None:
    """An MPF segment announces a second picture, but the first is still decoded at reduced size.

    Pillow alone calls such a file "MPO" and decodes it in full.
    """
    image = picture(1600, 1200)
    data = encoded(image, "MPO", save_all=True, append_images=[picture(160, 120)])
    assert b"MPF\0" in data
    found = decode(io.BytesIO(data), 10**7, quarter)
    assert (found.size, found.image.size) == ((1600, 1200), (400, 300))
