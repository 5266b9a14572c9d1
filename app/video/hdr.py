# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Brings HDR and wide colours to what screens without them show: BT.709, gamma 2.4, 8 bits.

Sources: ITU-R BT.2100-2 (PQ, HLG and its system gamma), BT.2390-11 section 5.4.1 (the curve that
compresses highlights), BT.2408-7 (diffuse white at 203 cd/m2, which becomes the white of the
result), BT.1886 (gamma 2.4). The curve works on the largest of red, green and blue, so that hues
stay; colours outside BT.709 are clipped.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.uint16]
#: what OpenCV takes and gives
Array = NDArray[np.integer[Any] | np.floating[Any]]

#: cd/m2 of the result's white
_WHITE = 203.0
#: cd/m2 of the brightest pixel where the film does not say it, and of HLG's nominal screen
USUAL_PEAK = 1000.0
_MOST_PEAK = 10_000.0
#: of the codes that ``ToSdr.apply`` takes
BITS = 10
_TOP = 2**BITS - 1
_ROWS = 128  # so that a band's intermediate results stay in the processor's cache

# Chromaticities x, y of red, green and blue; all have the white of D65.
_PRIMARIES = {
    "BT.709": ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),
    "BT.2020": ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    "P3": ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
_D65 = (0.3127, 0.3290)


class ToSdr:
    """The conversion of one film.

    Args:
        transfer: "PQ", "HLG" or "SDR" (gamma 2.4).
        primaries: "BT.709", "BT.2020" or "P3".
        peak: cd/m2 of the film's brightest pixel; only PQ films say it.
    """

    def __init__(self, transfer: str, primaries: str, peak: float = USUAL_PEAK) -> None:
        self._transfer = transfer
        self._peak = min(peak, _MOST_PEAK) if transfer == "PQ" else USUAL_PEAK
        to_709 = np.linalg.inv(_to_xyz("BT.709")) @ _to_xyz(primaries)
        self._matrix = to_709.astype(np.float32)
        self._luminance = _to_xyz(primaries)[1:2].astype(np.float32)

    def apply(self, red: Codes, green: Codes, blue: Codes) -> NDArray[np.uint8]:
        """The picture, [h, w, 3], of full-range codes of ``BITS`` bits, each [h, w]."""
        height, width = red.shape
        image = np.empty((height, width, 3), np.uint8)
        for top in range(0, height, _ROWS):
            band = slice(top, top + _ROWS)
            image[band] = self._band([plane[band] for plane in (red, green, blue)])
        return image

    def _band(self, planes: list[Codes]) -> NDArray[np.uint8]:
        light = cv2.merge([cv2.LUT(plane, self._light) for plane in planes])
        if self._transfer != "SDR":
            largest = cv2.max(cv2.max(planes[0], planes[1]), planes[2])
            if self._transfer == "PQ":
                gain = cv2.LUT(largest, self._compression)
            else:
                gain = self._hlg_gain(light, cv2.LUT(largest, self._light))
            light = cv2.multiply(light, cv2.merge([gain, gain, gain]))
        return np.asarray(cv2.LUT(_roots(cv2.transform(light, self._matrix)), _GAMMA), np.uint8)

    def _hlg_gain(self, light: Array, largest: Array) -> Array:
        """What a nominal screen does to the light of the scene, and the compression after it."""
        # The exponent is that of BT.2100's system gamma at 1000 cd/m2.
        gain = cv2.pow(cv2.transform(light, self._luminance), 0.2)
        roots = _roots(cv2.multiply(gain, largest))
        return cv2.multiply(gain, cv2.LUT(roots, self._hlg_compression))

    @cached_property
    def _light(self) -> NDArray[np.float32]:
        """Code -> light: PQ in cd/m2, HLG of the scene from 0 to 1, SDR from 0 to 1."""
        codes = np.minimum(np.arange(65536) / _TOP, 1)
        curve = {"PQ": _pq_to_light, "HLG": _hlg_to_scene, "SDR": _sdr_to_light}[self._transfer]
        return curve(codes).astype(np.float32).reshape(1, -1)

    @cached_property
    def _compression(self) -> NDArray[np.float32]:
        """Code of the largest of red, green and blue -> factor of all three; 1 is white."""
        light = self._light.astype(np.float64)
        return (_compressed(light, self._peak) / np.maximum(light, 1e-9) / _WHITE).astype(
            np.float32
        )

    @cached_property
    def _hlg_compression(self) -> NDArray[np.float32]:
        """The same, by the root of the light in parts of the peak, in 16 bits."""
        light = (np.arange(65536) / 65535) ** 2 * self._peak
        factor = _compressed(light, self._peak) / np.maximum(light, 1e-9) * self._peak / _WHITE
        factor[0] = factor[1]
        return factor.astype(np.float32).reshape(1, -1)


_GAMMA = np.rint(255 * (np.arange(65536) / 65535) ** (2 / 2.4)).astype(np.uint8).reshape(1, -1)


def _roots(light: Array) -> Array:
    """Square roots in 16 bits, which keep dark tones apart; less than 0 is 0, more than 1 is 1."""
    root = cv2.sqrt(np.maximum(light, 0))
    return cv2.addWeighted(root, 65535, root, 0, 0, dtype=cv2.CV_16U)


# Constants of PQ: BT.2100-2, table 4.
_M1, _M2 = 2610 / 16384, 2523 / 4096 * 128
_C1, _C2, _C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32


def _pq_to_light(code: Floats) -> Floats:
    root = code ** (1 / _M2)
    return 10_000 * (np.maximum(root - _C1, 0) / (_C2 - _C3 * root)) ** (1 / _M1)


def _light_to_pq(light: Floats) -> Floats:
    power = (light / 10_000) ** _M1
    return ((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2


def _sdr_to_light(code: Floats) -> Floats:
    return code**2.4


def _hlg_to_scene(code: Floats) -> Floats:
    """Light of the scene, 0 to 1: BT.2100-2, table 5."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12)


def _compressed(light: Floats, peak: float) -> Floats:
    """Light up to ``peak`` brought to at most ``_WHITE``; dark and middle tones stay."""
    if peak <= _WHITE:
        return np.minimum(light, _WHITE)
    top = float(_light_to_pq(np.array(peak)))
    most = float(_light_to_pq(np.array(_WHITE))) / top
    code = np.minimum(_light_to_pq(light) / top, 1)
    knee = 1.5 * most - 0.5
    t = np.maximum(code - knee, 0) / (1 - knee)
    spline = (
        (2 * t**3 - 3 * t**2 + 1) * knee
        + (t**3 - 2 * t**2 + t) * (1 - knee)
        + (-2 * t**3 + 3 * t**2) * most
    )
    return _pq_to_light(np.where(code < knee, code, spline) * top)


def _to_xyz(primaries: str) -> Floats:
    """Matrix from linear RGB to XYZ, with white at Y = 1."""
    columns = np.array([(x / y, 1, (1 - x - y) / y) for x, y in _PRIMARIES[primaries]]).T
    x, y = _D65
    white = np.array((x / y, 1, (1 - x - y) / y))
    return columns * np.linalg.solve(columns, white)
