# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Encodes 3D Gaussians in the file formats that viewers read.

ply: the file that the authors of Gaussian splatting write
(https://github.com/graphdeco-inria/gaussian-splatting), without view-dependent colours. Nothing is
rounded. 56 bytes a splat.

splat: the file of https://github.com/antimatter15/splat, 32 bytes a splat without a header:
position and standard deviations as float32, then colour, opacity and rotation in a byte each.
Viewers show the file while it loads, so the splats that cover most come first.

spz: Niantic's compressed file, https://github.com/nianticlabs/spz, about 13 bytes a splat. This is
version 2: there are newer ones, but gaussian-splats-3d 0.4.7 reads none after 2, and every reader
of a newer one reads version 2 as well.

Coordinates in ply and splat are those of ``Splats`` (x right, y down, z forward), as their readers
expect. Those in spz are x right, y up, z backward, as its specification demands.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Literal

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from app.rendering.splats import Splats

Floats = NDArray[np.float32]
SplatFormat = Literal["ply", "splat", "spz"]

#: the constant spherical harmonic: a colour is 0.5 + this times its coefficient
HARMONIC = 0.28209479177387814
# gaussian-splats-3d rounds colours down. A hundredth of a level more, and it finds the level that
# was meant where float32 has come out just below.
_NUDGE = 0.01 / 255
# Logarithms and logits stay finite.
_LEAST_DEVIATION = 1e-12
_LEAST_TRANSPARENCY = 1e-6
# Temporary arrays are made for this many splats at a time, which also keeps them in the cache.
_STRIP = 2**15

#: the properties of a splat in a PLY
PLY_FIELDS = (
    *("x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity", "scale_0", "scale_1", "scale_2"),
    *("rot_0", "rot_1", "rot_2", "rot_3"),
)
_SPLAT_ROW = np.dtype(
    [("centre", "<f4", 3), ("deviations", "<f4", 3), ("rgba", "u1", 4), ("rotation", "u1", 4)]
)
_SPZ_MAGIC, _SPZ_VERSION = 0x5053474E, 2  # "NGSP"
# Colours are stored so that some beyond black and white have room, sizes in steps of exp(1 / 16).
_SPZ_COLOUR, _SPZ_STEPS, _SPZ_SMALLEST = 0.15, 16, -10
# Coordinates have 24 bits, of which this many at most are for fractions.
_SPZ_FINEST, _SPZ_LARGEST = 20, 2**23 - 1
# From x right, y down, z forward to x right, y up, z backward: half a turn around x.
_TURNED = np.array([1, -1, -1], np.float32)
# ISA-L's level 1 makes a file within 5 % of the best one's size, in a fraction of the time.
_LEVEL, _GZIP = 1, 31

# Half a turn of a Gaussian around one of its own axes changes nothing. Of the quaternions that
# differ by such turns, row i of these tables makes the one whose real part is the given one's
# component i.
_PARTS = np.array([[0, 1, 2, 3], [1, 0, 3, 2], [2, 3, 0, 1], [3, 2, 1, 0]])
_SIGNS = np.array([[1, 1, 1, 1], [-1, 1, 1, -1], [-1, -1, 1, 1], [-1, 1, -1, 1]], np.float32)


def encode(splats: Splats, format: SplatFormat) -> bytes:
    """Encode splats as a file.

    Beside the splats this takes twice the size of the file (of a spz: before its compression, 19
    bytes a splat), and a few MiB.

    Positions in spz are rounded to 2^-23 of the farthest splat's largest coordinate, or to a little
    less: at worst 2^-22. Deviations there are rounded by up to 3 % and lie between 4.5e-5 and 380.

    Raises:
        ArithmeticError: a value is infinite or undefined; for spz also: a coordinate exceeds 2^23.
    """
    encoders = {"ply": _ply, "splat": _splat, "spz": _spz}
    return encoders[format](splats)


def _ply(splats: Splats) -> bytes:
    fields = "".join(f"property float {name}\n" for name in PLY_FIELDS)
    head = (
        f"ply\nformat binary_little_endian 1.0\nelement vertex {len(splats)}\n{fields}end_header\n"
    )
    rows = np.empty((len(splats), len(PLY_FIELDS)), "<f4")
    opacity = np.clip(_opacities(splats), _LEAST_TRANSPARENCY, 1 - _LEAST_TRANSPARENCY)
    for strip in _strips(len(splats)):
        part = rows[strip]
        part[:, :3] = splats.centres[strip]
        part[:, 3:6] = _harmonics(splats.colours[strip] + np.float32(_NUDGE))
        part[:, 6] = np.log(opacity[strip] / (1 - opacity[strip]))
        part[:, 7:10] = _logarithms(splats.deviations[strip])
        part[:, 10:] = splats.rotations[strip]
        _check_finite(part)
    return b"".join((head.encode("ascii"), rows.data))


def _splat(splats: Splats) -> bytes:
    rows, order = _splat_rows(splats)
    rows = rows.view(f"V{_SPLAT_ROW.itemsize}")[np.argsort(order, kind="stable")]
    return rows.tobytes()


def _splat_rows(splats: Splats) -> tuple[NDArray[np.void], NDArray[np.uint16]]:
    """Records in the splats' own order, and numbers to sort them by."""
    rows = np.empty(len(splats), _SPLAT_ROW)
    order = np.empty(len(splats), np.uint16)
    opacity = _opacities(splats)
    for strip in _strips(len(splats)):
        part = rows[strip]
        logarithms = _logarithms(splats.deviations[strip])
        _check_finite(splats.centres[strip], logarithms, splats.rotations[strip])
        part["centre"] = splats.centres[strip]
        part["deviations"] = splats.deviations[strip]
        part["rgba"][:, :3] = _levels(splats.colours[strip] * 255)
        part["rgba"][:, 3] = _levels(opacity[strip] * 255)
        part["rotation"] = _levels(splats.rotations[strip] * 128 + 128)
        # NumPy sorts 16-bit numbers many times as fast as others, and steps of 1/256 are enough.
        cover = logarithms.sum(axis=1) + np.log(np.maximum(opacity[strip], _LEAST_TRANSPARENCY))
        order[strip] = np.clip(2**15 - 2**8 * cover, 0, 2**16 - 1)
    return rows, order


def _spz(splats: Splats) -> bytes:
    _check_finite(splats.centres)
    count = len(splats)
    farthest = float(np.abs(splats.centres).max(initial=0))
    if farthest >= _SPZ_LARGEST:
        raise ArithmeticError(f"a coordinate is {farthest:.3g}; spz holds less than {_SPZ_LARGEST}")
    bits = min(_SPZ_FINEST, int(np.log2(_SPZ_LARGEST / max(farthest, 1e-3))))
    head = struct.pack("<IIIBBBB", _SPZ_MAGIC, _SPZ_VERSION, count, 0, bits, 0, 0)
    centres = np.empty((count, 3, 3), np.uint8)
    alphas = _levels(_opacities(splats) * 255)
    colours = np.empty((count, 3), np.uint8)
    sizes = np.empty((count, 3), np.uint8)
    rotations = np.empty((count, 3), np.uint8)
    for strip in _strips(count):
        steps = np.rint(splats.centres[strip] * (_TURNED * np.float32(2**bits))).astype("<i4")
        centres[strip] = steps.view(np.uint8).reshape(-1, 3, 4)[..., :3]
        harmonics = _harmonics(splats.colours[strip])
        colours[strip] = _levels(harmonics * (_SPZ_COLOUR * 255) + 127.5)
        logarithms = _logarithms(splats.deviations[strip])
        _check_finite(logarithms, splats.rotations[strip])
        sizes[strip] = _levels((logarithms - _SPZ_SMALLEST) * _SPZ_STEPS)
        # The real part is not stored, and the larger it is, the more precise are the others.
        turned = _with_large_real_part(splats.rotations[strip])[:, 1:] * _TURNED
        rotations[strip] = _levels(turned * 127.5 + 127.5)
    data = b"".join((head, centres.data, alphas.data, colours.data, sizes.data, rotations.data))
    return isal_zlib.compress(data, level=_LEVEL, wbits=_GZIP)


def _with_large_real_part(rotations: Floats) -> Floats:
    """Quaternions [n, 4] of the same Gaussians whose real part is at least 0.5."""
    largest = np.abs(rotations.T.copy()).argmax(0)  # a copy, since rows are searched faster
    same: Floats = np.take_along_axis(rotations, _PARTS[largest], 1) * _SIGNS[largest]
    return np.where(same[:, :1] < 0, -same, same)


def _strips(count: int) -> Iterator[slice]:
    return (slice(start, start + _STRIP) for start in range(0, count, _STRIP))


def _opacities(splats: Splats) -> Floats:
    """The opacity of each splat, [n]."""
    return np.broadcast_to(np.asarray(splats.opacity, np.float32), len(splats))


def _harmonics(colours: Floats) -> Floats:
    return (colours - np.float32(0.5)) / np.float32(HARMONIC)


def _logarithms(deviations: Floats) -> Floats:
    logarithms: Floats = np.log(np.maximum(deviations, np.float32(_LEAST_DEVIATION)))
    return logarithms


def _levels(values: Floats) -> NDArray[np.uint8]:
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)


def _check_finite(*arrays: Floats) -> None:
    for values in arrays:
        if not np.isfinite(values).all():
            raise ArithmeticError("the splats have infinite or undefined values")
