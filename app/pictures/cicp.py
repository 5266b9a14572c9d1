# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Makes ICC profiles for the CICP code points (ITU-T H.273) with which HEIF and AVIF files state
their colour space.

Other primaries than sRGB's are supported, and so are the transfer functions PQ and HLG. The
transfer functions of ordinary video (BT.709 and similar) are treated as sRGB's, as in browsers.
"""

from __future__ import annotations

import struct
from functools import cache

import numpy as np
from numpy.typing import NDArray

# The xy chromaticities of red, green, blue and white by code point (H.273, table 2).
_D65 = (0.3127, 0.3290)
_PRIMARIES = {
    1: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060), _D65),
    4: ((0.670, 0.330), (0.210, 0.710), (0.140, 0.080), (0.310, 0.316)),
    5: ((0.640, 0.330), (0.290, 0.600), (0.150, 0.060), _D65),
    6: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),
    7: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), _D65),
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _D65),
    22: ((0.630, 0.340), (0.295, 0.605), (0.155, 0.077), _D65),
}
_GAMMA_22, _GAMMA_28, _LINEAR, _PQ, _HLG = 4, 5, 8, 16, 18
_UNSPECIFIED = 2

_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
_D50 = np.array([0.9642, 1.0, 0.8249])  # the white point of ICC's profile connection space
_SAMPLES = 4096

_SDR_WHITE = 203.0  # luminance of diffuse white in HDR pictures, cd/m2 (ITU-R BT.2408)
_HDR_PEAK = 1000.0  # cd/m2


@cache
def icc_profile(primaries: int, transfer: int) -> bytes | None:
    """The ICC profile of a colour space.

    Returns None if the space is close to sRGB or unknown, so that no conversion is needed or
    possible.

    HDR (PQ, HLG) is tone mapped to standard dynamic range, each channel separately, with the curve
    that browsers use (extended Reinhard, with a peak of 1000 cd/m2).
    """
    if primaries not in _PRIMARIES:
        primaries = 1
    if primaries == 1 and transfer not in (_GAMMA_22, _GAMMA_28, _LINEAR, _PQ, _HLG):
        return None
    tags = {
        b"wtpt": _xyz(_D50),
        **{
            name: _xyz(column)
            for name, column in zip(
                (b"rXYZ", b"gXYZ", b"bXYZ"), _colorants(primaries).T, strict=True
            )
        },
    }
    curve = _curve(_linear(transfer))
    return _profile({**tags, b"rTRC": curve, b"gTRC": curve, b"bTRC": curve})


def _colorants(primaries: int) -> NDArray[np.float64]:
    """XYZ of the red, green and blue primaries as columns, adapted to D50 (Bradford)."""
    *colours, white = [np.array([x / y, 1.0, (1 - x - y) / y]) for x, y in _PRIMARIES[primaries]]
    matrix = np.stack(colours, axis=1)
    matrix = matrix * np.linalg.solve(matrix, white)
    scale = (_BRADFORD @ _D50) / (_BRADFORD @ white)
    adapted: NDArray[np.float64] = np.linalg.inv(_BRADFORD) @ (
        scale[:, None] * (_BRADFORD @ matrix)
    )
    return adapted


def _linear(transfer: int) -> NDArray[np.float64]:
    """The curve from code values to linear light: light (0..1) at evenly spaced code values."""
    code = np.linspace(0.0, 1.0, _SAMPLES)
    if transfer in (_PQ, _HLG):
        light = (_pq(code) if transfer == _PQ else _hlg(code)) / _SDR_WHITE
        peak = _HDR_PEAK / _SDR_WHITE
        return np.clip(light * (1 + light / peak**2) / (1 + light), 0, 1)
    powers = {_GAMMA_22: 2.2, _GAMMA_28: 2.8, _LINEAR: 1.0}
    if transfer in powers:
        return code ** powers[transfer]
    return np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)


def _pq(code: NDArray[np.float64]) -> NDArray[np.float64]:
    """Luminance in cd/m2 of PQ code values (SMPTE ST 2084)."""
    root = code ** (32 / 2523)
    ratio = np.maximum(root - 107 / 128, 0) / (2413 / 128 - 2392 / 128 * root)
    return 10_000 * ratio ** (8192 / 1305)


def _hlg(code: NDArray[np.float64]) -> NDArray[np.float64]:
    """Luminance in cd/m2 of HLG code values (ITU-R BT.2100) on a display of 1000 cd/m2."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12)
    return _HDR_PEAK * scene**1.2


def _xyz(values: NDArray[np.float64]) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(float(value) * 65536) for value in values))


def _curve(values: NDArray[np.float64]) -> bytes:
    table = np.rint(values * 65535).astype(">u2").tobytes()
    return b"curv\0\0\0\0" + struct.pack(">I", len(values)) + table


def _profile(tags: dict[bytes, bytes]) -> bytes:
    """An ICC display profile (version 2); tags with equal content are stored once."""
    start = 128 + 4 + 12 * len(tags)
    table, body = b"", b""
    places: dict[bytes, int] = {}
    for name, content in tags.items():
        if content not in places:
            places[content] = start + len(body)
            body += content + bytes(-len(content) % 4)
        table += struct.pack(">4sII", name, places[content], len(content))
    head = struct.pack(
        ">I4xI4s4s4s12x4s28x3i48x",
        start + len(body),
        0x02400000,
        b"mntr",
        b"RGB ",
        b"XYZ ",
        b"acsp",
        *(round(value * 65536) for value in _D50.tolist()),
    )
    return head + struct.pack(">I", len(tags)) + table + body
