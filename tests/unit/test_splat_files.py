# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests the files of splats by reading them as their specifications say.

``tests/clients`` reads them with other projects' programs.
"""

from __future__ import annotations

import gzip
import struct
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.rendering.splat_files import SplatFormat, encode
from app.rendering.splats import Splats

FORMATS = get_args(SplatFormat)
HARMONIC = 0.28209479
FIELDS = ["x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity", "scale_0", "scale_1"]
FIELDS += ["scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]


@dataclass(frozen=True)
class Read:
    """What a reader finds in a file, in the coordinates and units of ``Splats``."""

    centres: NDArray[Any]
    colours: NDArray[Any]
    opacity: NDArray[Any]
    deviations: NDArray[Any]
    rotations: NDArray[Any]


def read_ply(data: bytes) -> Read:
    head, _, body = data.partition(b"end_header\n")
    lines = head.decode("ascii").split("\n")
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
    assert lines[2].startswith("element vertex ")
    names = [line.removeprefix("property float ") for line in lines[3:-1]]
    assert names == FIELDS
    rows = np.frombuffer(body, "<f4").reshape(-1, len(names))
    assert len(rows) == int(lines[2].split()[-1])
    return Read(
        rows[:, :3],
        0.5 + HARMONIC * rows[:, 3:6],
        1 / (1 + np.exp(-rows[:, 6])),
        np.exp(rows[:, 7:10]),
        rows[:, 10:],
    )


def read_splat(data: bytes) -> Read:
    floats = np.frombuffer(data, "<f4").reshape(-1, 8)
    octets = np.frombuffer(data, np.uint8).reshape(-1, 32)
    rotations = (octets[:, 28:].astype(float) - 128) / 128
    return Read(
        floats[:, :3], octets[:, 24:27] / 255, octets[:, 27] / 255, floats[:, 3:6], rotations
    )


def read_spz(data: bytes) -> Read:
    body = gzip.decompress(data)
    magic, version, count, harmonics, bits, flags, reserved = struct.unpack("<4sIIBBBB", body[:16])
    assert (magic, version, harmonics, flags, reserved) == (b"NGSP", 2, 0, 0, 0)
    sizes = np.array([9, 1, 3, 3, 3]) * count
    assert len(body) == 16 + sizes.sum()
    parts = np.split(np.frombuffer(body, np.uint8)[16:], np.cumsum(sizes)[:-1])
    octets = parts[0].reshape(count, 3, 3).astype(np.int32)
    steps = octets[..., 0] | octets[..., 1] << 8 | octets[..., 2] << 16
    steps = np.where(steps >= 2**23, steps - 2**24, steps)
    imaginary = parts[4].reshape(count, 3) / 127.5 - 1
    real = np.sqrt(np.maximum(1 - (imaginary**2).sum(1), 0))
    down = np.array([1, -1, -1])  # from x right, y up, z backward
    return Read(
        steps / 2**bits * down,
        (parts[2].reshape(count, 3) / 255 - 0.5) / 0.15 * HARMONIC + 0.5,
        parts[1] / 255,
        np.exp(parts[3].reshape(count, 3) / 16 - 10),
        np.column_stack([real, imaginary * down]),
    )


READERS = {"ply": read_ply, "splat": read_splat, "spz": read_spz}


def some(count: int, seed: int = 0) -> Splats:
    random = np.random.default_rng(seed)
    splats = Splats.empty(count)
    splats.centres[:] = random.normal(0, 5, (count, 3))
    splats.colours[:] = random.integers(0, 256, (count, 3)) / 255
    splats.deviations[:] = np.exp(random.uniform(-8, 1, (count, 3)))
    rotations = random.normal(size=(count, 4))
    splats.rotations[:] = rotations / np.linalg.norm(rotations, axis=1, keepdims=True)
    return splats


def axes(rotations: NDArray[Any]) -> NDArray[Any]:
    """Return the products of each axis with itself, [n, 3 axes, 3, 3]: they have no sign."""
    w, x, y, z = (rotations / np.linalg.norm(rotations, axis=1, keepdims=True)).T
    columns = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)],
            [2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x)],
            [2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)],
        ]
    ).transpose(2, 0, 1)
    products: NDArray[Any] = np.einsum("nai,naj->naij", columns, columns)
    return products


def in_order(read: Read, splats: Splats) -> Read:
    """Match what was read with the splats by its place."""
    distances = np.linalg.norm(read.centres[None] - splats.centres[:, None], axis=2)
    order = distances.argmin(1)
    assert len(set(order)) == len(splats) == len(read.centres)
    return Read(*(getattr(read, name)[order] for name in Read.__dataclass_fields__))


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("count", [1, 3, 700])
def test_a_file_has_all_splats(count: int, format: SplatFormat) -> None:
    splats = some(count)
    read = in_order(READERS[format](encode(splats, format)), splats)
    is_spz, is_ply = format == "spz", format == "ply"
    np.testing.assert_allclose(read.centres, splats.centres, atol=2e-6 if is_spz else 0)
    np.testing.assert_allclose(read.colours, splats.colours, atol=1e-2 if is_spz else 1e-4)
    np.testing.assert_allclose(read.opacity, splats.opacity, atol=1e-5 if is_ply else 2e-3)
    rounded = {"ply": 1e-5, "splat": 0, "spz": 0.033}[format]
    np.testing.assert_allclose(read.deviations, splats.deviations, rtol=rounded)
    rounded = {"ply": 1e-5, "splat": 0.02, "spz": 0.02}[format]
    np.testing.assert_allclose(axes(read.rotations), axes(splats.rotations), atol=rounded)


@pytest.mark.parametrize("format", FORMATS)
def test_no_splats_are_a_valid_file(format: SplatFormat) -> None:
    assert len(READERS[format](encode(Splats.empty(0), format)).centres) == 0


def read_ply_harmonics(data: bytes) -> NDArray[np.float32]:
    rows = np.frombuffer(data.partition(b"end_header\n")[2], "<f4").reshape(-1, 14)
    return rows[:, 3:6]


def test_readers_that_round_colours_down_find_the_right_level() -> None:
    levels = np.arange(256, dtype=np.uint8)
    splats = some(256)
    splats.colours[:] = (levels / 255)[:, None]
    colours = np.float32(0.5) + np.float32(HARMONIC) * read_ply_harmonics(encode(splats, "ply"))
    assert (np.floor(colours * 255) == levels[:, None]).all()


def test_the_splats_that_cover_most_come_first_in_a_splat_file() -> None:
    """Viewers show the file while it loads."""
    read = read_splat(encode(some(500), "splat"))
    volumes = np.log(read.deviations).sum(1)
    assert (np.diff(volumes) < 0.01).all()


def test_spz_is_more_precise_in_a_small_scene() -> None:
    for farthest in (0.5, 100.0, 100_000.0):
        splats = some(50)
        splats.centres[:] *= farthest / np.abs(splats.centres).max()
        error = np.abs(in_order(read_spz(encode(splats, "spz")), splats).centres - splats.centres)
        assert error.max() <= max(farthest / 2**22, 2**-20)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("field", ["centres", "deviations", "rotations"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_undefined_values_are_no_file(field: str, value: float, format: SplatFormat) -> None:
    splats = some(5)
    getattr(splats, field)[3, 1] = value
    with pytest.raises(ArithmeticError, match="infinite"):
        encode(splats, format)


def test_spz_says_what_is_too_far_for_it() -> None:
    splats = some(5)
    splats.centres[2, 2] = 1e7
    with pytest.raises(ArithmeticError, match="1e\\+07"):
        encode(splats, "spz")


@settings(max_examples=40)
@given(
    st.integers(1, 40),
    st.floats(-30, 6),
    st.floats(-40, 20),
    st.floats(0, 1),
    st.sampled_from(FORMATS),
)
def test_extreme_splats_stay_finite(
    count: int, place: float, size: float, opacity: float, format: SplatFormat
) -> None:
    splats = replace(some(count), opacity=opacity)
    splats.centres[:] *= np.exp(place)
    splats.deviations[:] *= np.exp(size)
    splats.deviations[0] = 0
    splats.colours[0] = 0, 1, 0.5
    read = READERS[format](encode(splats, format))
    for name in Read.__dataclass_fields__:
        assert np.isfinite(getattr(read, name)).all()
    assert np.abs(read.opacity - opacity).max() < 0.002
