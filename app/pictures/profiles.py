# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Makes ICC profiles for colour spaces that a PNG states as CICP code points or as a gamma.

Code points: ITU-T H.273. ICC: specification ICC.1:2001-04 (version 2). PQ and HLG: ITU-R BT.2100.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

#: result for colours that are sRGB already and need no conversion
SRGB = b""

Curve = NDArray[np.float64]
#: xy chromaticities of white, red, green, blue, in the order of PNG's cHRM chunk
Chromaticities = Sequence[float]

_D65 = (0.3127, 0.3290)
_SRGB_CHROMATICITIES = (*_D65, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
_PRIMARIES: dict[int, Chromaticities] = {
    1: _SRGB_CHROMATICITIES,
    4: (0.310, 0.316, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),
    5: (*_D65, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),
    6: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    7: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    9: (*_D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    12: (*_D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
}
# Transfer functions that are treated as sRGB's. Those of BT.709, BT.601 and BT.2020 describe
# cameras; displays show such video with about sRGB's curve.
_LIKE_SRGB = (1, 6, 13, 14, 15)
_GAMMAS = {4: 2.2, 5: 2.8, 8: 1.0, 17: 2.6}
_PQ, _HLG = 16, 18
_WHITE_NITS = 203.0  # luminance of diffuse white in PQ and HLG, cd/m2 (ITU-R BT.2408)
_PEAK_NITS = 1000.0

_STEPS = np.linspace(0.0, 1.0, 4096)
_D50_XYZ = np.array([0.9642, 1.0, 0.8249])
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)


def from_code_points(primaries: int, transfer: int, grey: bool) -> bytes | None:
    """The ICC profile for CICP code points; ``SRGB`` for sRGB, None for unknown code points.

    HDR (PQ, HLG) is tone mapped to standard dynamic range with the extended Reinhard curve, as in
    Chromium: diffuse white is 203 cd/m2, and the peak 1000 cd/m2.
    """
    chromaticities = _PRIMARIES.get(primaries)
    if transfer in _LIKE_SRGB:
        curve = _srgb()
    elif transfer in _GAMMAS:
        curve = _STEPS ** _GAMMAS[transfer]
    elif transfer in (_PQ, _HLG):
        curve = _compressed(_pq() if transfer == _PQ else _hlg())
    else:
        return None
    if chromaticities is None and not grey:
        return None
    if transfer in _LIKE_SRGB and (grey or primaries == 1):
        return SRGB
    return _profile(curve, None if grey else chromaticities)


def from_gamma(gamma: float, chromaticities: Chromaticities | None, grey: bool) -> bytes | None:
    """The ICC profile for an encoding gamma (usually 1/2.2 = 0.45455) and primaries.

    Without chromaticities the primaries are sRGB's. Returns ``SRGB`` if gamma and primaries equal
    sRGB's within the rounding of PNG writers, and None if the numbers are implausible.
    """
    if not 0.1 <= gamma <= 10:
        return None
    if chromaticities is None or grey:
        chromaticities = _SRGB_CHROMATICITIES
    same = np.abs(np.subtract(chromaticities, _SRGB_CHROMATICITIES)).max() < 0.002
    if same and abs(gamma * 2.2 - 1) < 0.05:  # libpng ignores such a difference, too
        return SRGB
    return _profile(_STEPS ** (1 / gamma), None if grey else chromaticities)


def _srgb() -> Curve:
    return np.where(_STEPS <= 0.04045, _STEPS / 12.92, ((_STEPS + 0.055) / 1.055) ** 2.4)


def _pq() -> Curve:
    """The PQ curve: light relative to diffuse white."""
    m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
    power = _STEPS ** (1 / m2)
    light = (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1)
    return light * 10_000 / _WHITE_NITS


def _hlg() -> Curve:
    """The HLG curve: light relative to diffuse white, on a display of 1000 cd/m2."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(_STEPS <= 0.5, _STEPS**2 / 3, (np.exp((_STEPS - c) / a) + b) / 12)
    return scene**1.2 * _PEAK_NITS / _WHITE_NITS


def _compressed(light: Curve) -> Curve:
    peak = _PEAK_NITS / _WHITE_NITS
    light = np.minimum(light, peak)
    return light * (1 + light / peak**2) / (1 + light)


def _profile(curve: Curve, chromaticities: Chromaticities | None) -> bytes | None:
    """A display profile with the same curve for all channels; a grey one without chromaticities."""
    levels = np.rint(np.clip(curve, 0, 1) * 65535).astype(">u2").tobytes()
    trc = b"curv" + struct.pack(">II", 0, len(curve)) + levels
    tags = {b"wtpt": _xyz(_D50_XYZ)}
    if chromaticities is None:
        tags[b"kTRC"] = trc
    else:
        columns = _columns(chromaticities)
        if columns is None:
            return None
        for name, column in zip((b"r", b"g", b"b"), columns.T, strict=True):
            tags[name + b"XYZ"] = _xyz(column)
            tags[name + b"TRC"] = trc
    space = b"GRAY" if chromaticities is None else b"RGB "
    return _assembled(space, tags)


def _assembled(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    body, places = b"", {}
    start = 128 + 4 + 12 * len(tags)
    for content in tags.values():
        if content not in places:
            places[content] = start + len(body)
            body += content + bytes(-len(content) % 4)
    table = struct.pack(">I", len(tags)) + b"".join(
        struct.pack(">4sII", name, places[content], len(content)) for name, content in tags.items()
    )
    illuminant = _xyz(_D50_XYZ)[8:]
    head = struct.pack(
        ">I4sI4s4s4s12s4s28x12s48x",
        *(start + len(body), b"", 0x02400000, b"mntr", space, b"XYZ ", b"", b"acsp", illuminant),
    )
    return head + table + body


def _columns(chromaticities: Chromaticities) -> NDArray[np.float64] | None:
    """[3, 3] XYZ of the primaries as columns, adapted to D50; None for invalid chromaticities.

    Source of the method: B. Lindbloom, "RGB/XYZ Matrices" and "Chromatic Adaptation".
    """
    points = np.array(chromaticities, float).reshape(4, 2)
    if (points[:, 1] <= 0).any() or (points < 0).any() or (points.sum(1) > 1.001).any():
        return None
    xyz = np.stack([points[:, 0], points[:, 1], 1 - points.sum(1)]) / points[:, 1]
    white, primaries = xyz[:, 0], xyz[:, 1:]
    if abs(np.linalg.det(primaries)) < 1e-3:
        return None
    columns = primaries * np.linalg.solve(primaries, white)
    scale = (_BRADFORD @ _D50_XYZ) / (_BRADFORD @ white)
    adapted: NDArray[np.float64] = np.linalg.inv(_BRADFORD) @ (
        scale[:, None] * (_BRADFORD @ columns)
    )
    return adapted if np.abs(adapted).max() < 30_000 else None


def _xyz(values: NDArray[np.float64]) -> bytes:
    return (
        b"XYZ " + bytes(4) + struct.pack(">3i", *(round(float(value) * 65536) for value in values))
    )
