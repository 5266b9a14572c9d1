# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Converts decompressed bytes of a TIFF to samples, and samples to 8-bit values.

For unsigned samples of up to 16 bits, 0 is black and all bits set is white. Wider integers, signed
integers and floats have no standard range. Their white is the smallest customary value (1, 255,
65535 or the type's maximum) that is not exceeded, provided that the samples are not negative and
their maximum is more than half of it. Otherwise the range from the minimum to the maximum is
stretched to 8 bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.pictures.tiff.layout import Layout
from app.pictures.tiff.tags import CHANNELS

Values = NDArray[Any]
Bytes = NDArray[np.uint8]
#: A function from samples to 8-bit values of the same shape.
Scale = Callable[[Values], Bytes]


def numbers(planes: Bytes, layout: Layout) -> Values:
    """Samples [rows, width, used samples] from the bytes that ``chunks.bands`` yields."""
    found = [_plane(plane, layout) for plane in planes]
    if layout.planar:
        return np.concatenate(found, axis=2)
    return found[0] if len(layout.used) == layout.samples else found[0][..., layout.used]


def scale(layout: Layout, max_value: int, pictures: Iterable[Values]) -> Scale:
    """The function that converts the colours of a picture to 8 bits.

    Args:
        layout: the picture's layout.
        max_value: the tag MaxSampleValue, 0 if missing. In TIFF it is only a statistic. But if it
            is 2**n - 1 for an n below the sample's bits, and no sample is larger, it is taken as
            white: for example 4095 for 12-bit camera data in 16-bit samples.
        pictures: bands of the picture; used only if the range depends on the samples.
    """
    if layout.kind == "u" and layout.bits <= 16:
        white = (1 << layout.bits) - 1
        if 0xFF < max_value < white and not max_value & (max_value + 1):
            largest = max(int(band.max()) for band in pictures)
            white = max_value if largest <= max_value else white
        return _by_depth(layout.bits, white)
    colours = CHANNELS[layout.photometric]
    low, high = _range(band[..., :colours] for band in pictures)
    full = next((full for full in _customary(layout) if high <= full), 0.0)
    if low >= 0 and high > full / 2 > 0:
        low, high = 0.0, full
    return _stretch(low, high)


def _customary(layout: Layout) -> list[float]:
    """Customary values of white, ascending."""
    if layout.kind == "f":
        return [1.0, 255.0, 65535.0]
    return [255.0, 65535.0, _all_of_type(layout)] if layout.bits > 16 else [_all_of_type(layout)]


def _all_of_type(layout: Layout) -> float:
    return 2.0 ** (layout.bits - (layout.kind == "i")) - 1


def alpha_scale(layout: Layout) -> Scale:
    """The function that converts alpha to 8 bits; alpha has the full range of its type."""
    if layout.kind == "u" and layout.bits <= 16:
        return _by_depth(layout.bits, (1 << layout.bits) - 1)
    if layout.kind == "f":
        return _stretch(0.0, 1.0)
    return _stretch(0.0, _all_of_type(layout))


def _plane(lines: Bytes, layout: Layout) -> Values:
    """Samples [rows, width, samples] of one plane [lines, across, bytes]."""
    if layout.subsampling != (1, 1):
        return _full_chroma(lines, layout)
    rows, across, _ = lines.shape
    samples = 1 if layout.planar else layout.samples
    if layout.bits % 8:
        values = _small(lines, layout.chunk[0] * samples, layout.bits)
    else:
        values = _whole_bytes(np.ascontiguousarray(lines), layout, samples)
    return values.reshape(rows, across * layout.chunk[0], samples)[:, : layout.width]


def _whole_bytes(lines: Bytes, layout: Layout, samples: int) -> Values:
    """Samples of 8, 16, 32 or 64 bits, with the predictor (differences) undone."""
    rows, across, _ = lines.shape
    each = layout.bits // 8
    if layout.predictor == 3:  # a row stores the highest bytes of all samples, then the next ones
        sums = np.add.accumulate(
            lines.reshape(rows, across, -1, samples), axis=2, dtype=np.uint8
        ).reshape(rows, across, each, -1)
        big_endian = np.ascontiguousarray(sums.transpose(0, 1, 3, 2))
        return big_endian.view(f">f{each}").astype(f"f{each}")
    unsigned = lines.view(f"{layout.order}u{each}").astype(f"u{each}", copy=False)
    if layout.predictor == 2:
        pixels = unsigned.reshape(rows, across, -1, samples)
        unsigned = np.add.accumulate(pixels, axis=2, dtype=unsigned.dtype)
    return unsigned.view(f"{layout.kind}{each}")


def _small(lines: Bytes, count: int, bits: int) -> Values:
    """Samples of 1 to 15 bits (not 8), packed with the highest bit first."""
    if 8 % bits == 0:
        shifts = np.arange(8 - bits, -1, -bits, dtype=np.uint8)
        every = (lines[..., None] >> shifts) & np.uint8((1 << bits) - 1)
        return every.reshape(*lines.shape[:2], -1)[..., :count]
    # Each sample is within three bytes, the first of which holds its first bit.
    first = np.arange(count) * bits
    padded = np.pad(lines, ((0, 0), (0, 0), (0, 2))).astype(np.uint32)
    window = padded[..., first // 8] << 16
    window |= padded[..., first // 8 + 1] << 8
    window |= padded[..., first // 8 + 2]
    window >>= (24 - bits - first % 8).astype(np.uint32)
    return (window & ((1 << bits) - 1)).astype(np.uint16)


def _full_chroma(lines: Bytes, layout: Layout) -> Values:
    """Upsample subsampled YCbCr, which stores the luma of a block of pixels, then its Cb and Cr."""
    wide, high = layout.subsampling
    units = lines.reshape(*lines.shape[:2], -1, wide * high + 2)
    rows, across, count, _ = units.shape
    pixels = np.empty((rows, high, across, count, wide, 3), np.uint8)
    luma = units[..., :-2].reshape(rows, across, count, high, wide)
    pixels[..., 0] = luma.transpose(0, 3, 1, 2, 4)
    pixels[..., 1:] = units[:, None, :, :, None, -2:]
    full = pixels.reshape(rows * high, across, count * wide, 3)[:, :, : layout.chunk[0]]
    return full.reshape(rows * high, -1, 3)[:, : layout.width]


def _by_depth(bits: int, white: int) -> Scale:
    """Scales 0..white to 0..255 with rounding, for unsigned samples of up to 16 bits."""
    if bits == 8:
        return lambda values: values

    def scaled(values: Values) -> Bytes:
        wide = values.astype(np.uint32)
        wide *= 510
        wide += white
        wide //= 2 * white
        return wide.astype(np.uint8)

    return scaled


def _range(pictures: Iterable[Values]) -> tuple[float, float]:
    """Minimum and maximum; infinities and NaN count as 0."""
    lows, highs = [], []
    for band in pictures:
        low, high = float(band.min()), float(band.max())
        if not np.isfinite([low, high]).all():  # a NaN makes both results NaN
            finite = _finite(band)
            low, high = float(finite.min()), float(finite.max())
        lows.append(low)
        highs.append(high)
    return min(lows), max(highs)


def _stretch(low: float, high: float) -> Scale:
    factor = 255.0 / (high - low) if high > low else 0.0

    def scaled(values: Values) -> Bytes:
        wide = _finite(values)
        wide -= low
        wide *= factor
        np.clip(wide, 0, 255, out=wide)
        return np.rint(wide, out=wide).astype(np.uint8)

    return scaled


def _finite(values: Values) -> NDArray[np.float64]:
    """Convert to float64, because the range of float32 data may exceed float32.

    Values that are not finite become 0.
    """
    wide = values.astype(np.float64)
    if values.dtype.kind == "f":
        wide[~np.isfinite(wide)] = 0.0
    return wide
