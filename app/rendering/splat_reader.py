# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Reads the PLY of Gaussians that another program has written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.rendering.splat_files import HARMONIC, PLY_FIELDS
from app.rendering.splats import Splats

_BEGIN, _END = b"ply\n", b"end_header\n"
_MOST_HEADER = 65536
_TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "<i2"),
    **dict.fromkeys(("ushort", "uint16"), "<u2"),
    **dict.fromkeys(("int", "int32"), "<i4"),
    **dict.fromkeys(("uint", "uint32"), "<u4"),
    **dict.fromkeys(("float", "float32"), "<f4"),
    **dict.fromkeys(("double", "float64"), "<f8"),
}


@dataclass(frozen=True)
class SplatFile:
    """The content of a PLY."""

    splats: Splats
    #: all its elements by name, such as "vertex"; arrays with a field for each property
    elements: dict[str, NDArray[Any]]


def read(data: bytes) -> SplatFile:
    """Read a binary little-endian PLY with the properties of 3D Gaussians.

    Raises:
        ValueError: it is anything else.
    """
    elements = _elements(data)
    vertices = elements.get("vertex")
    names = (vertices.dtype.names or ()) if vertices is not None else ()
    missing = [name for name in PLY_FIELDS if name not in names]
    if vertices is None or missing:
        raise ValueError(f"the PLY lacks properties of Gaussians: {', '.join(missing)}")
    columns = {name: vertices[name].astype(np.float32) for name in PLY_FIELDS}

    def joined(name: str, count: int) -> NDArray[np.float32]:
        return np.stack([columns[f"{name}_{part}"] for part in range(count)], 1)

    rotations = joined("rot", 4)
    lengths = np.linalg.norm(rotations, axis=1, keepdims=True)
    lengths[lengths == 0] = 1
    with np.errstate(over="ignore"):  # an infinite logit is an opacity of 0 or 1
        opacity = (1 / (1 + np.exp(-columns["opacity"]))).astype(np.float32)
        deviations = np.exp(joined("scale", 3))
    splats = Splats(
        np.stack([columns[axis] for axis in "xyz"], 1),
        0.5 + np.float32(HARMONIC) * joined("f_dc", 3),
        deviations,
        (rotations / lengths).astype(np.float32),
        opacity,
    )
    return SplatFile(splats, elements)


def _elements(data: bytes) -> dict[str, NDArray[Any]]:
    head, end, _ = data[:_MOST_HEADER].partition(_END)
    if not head.startswith(_BEGIN) or not end:
        raise ValueError("no PLY")
    lines = [line.split() for line in head.decode("ascii", "replace").splitlines()[1:]]
    declared: list[tuple[str, int, list[tuple[str, str]]]] = []
    for line in lines:
        match line:
            case ["format", kind, _] if kind != "binary_little_endian":
                raise ValueError(f"a PLY of the kind {kind}")
            case ["element", name, count] if count.isdecimal():
                declared.append((name, int(count), []))
            case ["property", kind, name] if declared and kind in _TYPES:
                declared[-1][2].append((name, _TYPES[kind]))
            case ["property" | "element", *_]:
                raise ValueError(f"a PLY with {' '.join(line)[:80]!r}")
    found: dict[str, NDArray[Any]] = {}
    offset = len(head) + len(end)
    for element, length, fields in declared:
        row = np.dtype(fields)
        if offset + length * row.itemsize > len(data):
            raise ValueError("a PLY that is cut off")
        found[element] = np.frombuffer(data, row, length, offset)
        offset += length * row.itemsize
    return found
