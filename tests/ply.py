# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Reads the PLY of splats as docs/contracts.md describes it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FIELDS = (
    *("x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity", "scale_0", "scale_1", "scale_2"),
    *("rot_0", "rot_1", "rot_2", "rot_3"),
)


def read(data: bytes) -> dict[str, NDArray[np.float32]]:
    """Return each property of the vertices by its name."""
    head, _, body = data.partition(b"end_header\n")
    lines = head.decode("ascii").splitlines()
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
    elements = [line for line in lines if line.startswith("element ")]
    assert elements[0].startswith("element vertex ")
    assert len(elements) == 1
    kinds = [line.split()[1] for line in lines if line.startswith("property ")]
    names = [line.split()[2] for line in lines if line.startswith("property ")]
    assert set(kinds) == {"float"}
    assert set(FIELDS) <= set(names)
    rows = np.frombuffer(body, "<f4").reshape(int(elements[0].split()[2]), len(names))
    return {name: rows[:, column] for column, name in enumerate(names)}
