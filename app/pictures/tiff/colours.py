# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Converts the samples of a TIFF to an image, by its photometric interpretation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.pictures.source import refused
from app.pictures.tiff.directory import Directory
from app.pictures.tiff.layout import Layout
from app.pictures.tiff.samples import Scale
from app.pictures.tiff.tags import CHANNELS, Photometric, Tag

Bytes = NDArray[np.uint8]

_LUMA = [0.299, 0.587, 0.114]
_FULL_RANGE = [0.0, 255.0, 128.0, 255.0, 128.0, 255.0]


class Colours:
    """Converts samples to an image in ``mode``, which is L, LA, RGB, RGBA or CMYK."""

    def __init__(self, directory: Directory, layout: Layout, scale: Scale, alpha: Scale) -> None:
        self._layout = layout
        self._scale = scale
        self._alpha = alpha
        kind = layout.photometric
        self._palette = _palette(directory, layout) if kind == Photometric.PALETTE else None
        self._plain_ycbcr = plain_ycbcr(directory)
        if kind == Photometric.CMYK:
            self.mode = "CMYK"
        else:
            grey = kind in (Photometric.WHITE_IS_ZERO, Photometric.BLACK_IS_ZERO)
            self.mode = ("L" if grey else "RGB") + ("A" if layout.alpha else "")
        self._luma, self._reference = _ycbcr(directory)

    def image(self, values: NDArray[Any]) -> Image.Image:
        """Convert samples, [rows, width, used samples], to an image in ``mode``."""
        if self._palette is not None and values.shape[2] == 1 and values.dtype == np.uint8:
            indices = _image("P", values)
            indices.putpalette(self._palette.tobytes())
            return indices.convert("RGB")
        colours = self._colours(values[..., : CHANNELS[self._layout.photometric]])
        if self._layout.alpha:
            colours = self._with_alpha(colours, self._alpha(values[..., -1:]))
        return _image(self.mode, colours)

    def _colours(self, values: NDArray[Any]) -> Bytes:
        if self._palette is not None:
            return np.take(self._palette, values[..., 0], axis=0)
        match self._layout.photometric:
            case Photometric.CIELAB | Photometric.ICCLAB:
                return self._from_lab(values)
            case Photometric.YCBCR:
                return self._from_ycbcr(values)
            case Photometric.WHITE_IS_ZERO:
                return 255 - self._scale(values)
            case _:
                return self._scale(values)

    def _with_alpha(self, colours: Bytes, alpha: Bytes) -> Bytes:
        if self.mode == "CMYK":  # composited over white, which is 0 of each ink
            if self._layout.premultiplied:
                return colours
            return (colours * alpha.astype(np.uint16) // 255).astype(np.uint8)
        if self._layout.premultiplied:
            plain = colours.astype(np.uint16) * 255 // np.maximum(alpha, 1)
            colours = np.minimum(plain, 255).astype(np.uint8)
        return np.concatenate([colours, alpha], axis=2)

    def _from_lab(self, values: NDArray[Any]) -> Bytes:
        """Convert CIE L*a*b* (D50). a* and b* are signed, or unsigned plus 128 in ICCLAB."""
        lab = values
        if values.dtype == np.uint16:
            icc = self._layout.photometric == Photometric.ICCLAB
            full = 0xFF00 if icc else 0xFFFF  # the value of L* = 100
            lab = np.empty(values.shape, np.uint8)
            lab[..., 0] = np.rint(np.minimum(values[..., 0] * (255.0 / full), 255))
            lab[..., 1:] = values[..., 1:] >> 8
        if self._layout.photometric == Photometric.ICCLAB:
            lab = lab ^ np.array([0, 0x80, 0x80], np.uint8)
        return np.asarray(_image("LAB", lab).convert("RGB"))

    def _from_ycbcr(self, values: Bytes) -> Bytes:
        """Convert YCbCr: full-range ITU-R BT.601, or by the file's tags (TIFF 6.0, section 21)."""
        if self._plain_ycbcr:
            return np.asarray(_image("YCbCr", values).convert("RGB"))
        black, white = self._reference[::2], self._reference[1::2]
        spans = [max(high - low, 1.0) for low, high in zip(black, white, strict=True)]
        y, cb, cr = (
            (values[..., index].astype(np.float32) - black[index]) * (full / spans[index])
            for index, full in enumerate((255, 127, 127))
        )
        red, green, blue = self._luma
        r = y + cr * (2 - 2 * red)
        b = y + cb * (2 - 2 * blue)
        g = (y - blue * b - red * r) / (green or 1.0)
        rgb: Bytes = np.rint(np.clip(np.stack([r, g, b], axis=2), 0, 255)).astype(np.uint8)
        return rgb


def plain_ycbcr(directory: Directory) -> bool:
    """Whether YCbCr colours have the coefficients and range that JPEG uses."""
    return _ycbcr(directory) == (_LUMA, _FULL_RANGE)


def _ycbcr(directory: Directory) -> tuple[list[float], list[float]]:
    """Luma coefficients, and the reference black and white of each channel."""
    luma = directory.reals(Tag.YCBCR_COEFFICIENTS, 3)
    if luma is None or all(abs(own - usual) < 0.01 for own, usual in zip(luma, _LUMA, strict=True)):
        luma = _LUMA
    reference = directory.reals(Tag.REFERENCE_BLACK_WHITE, 6)
    return luma, reference or _FULL_RANGE


def _palette(directory: Directory, layout: Layout) -> Bytes:
    """The palette, [colours, 3] uint8. Files should have 16-bit values; some have 8-bit ones."""
    size = 1 << layout.bits
    values = np.array(directory.integers(Tag.COLOR_MAP, 3 * size), np.uint32)
    if len(values) < 3 * size:
        raise refused("The TIFF file is damaged: its palette is missing or too short")
    eight_bits = values.max() < 256
    return (values if eight_bits else values // 257).astype(np.uint8).reshape(3, size).T


def _image(mode: str, pixels: Bytes) -> Image.Image:
    height, width = pixels.shape[:2]
    return Image.frombuffer(mode, (width, height), np.ascontiguousarray(pixels), "raw", mode, 0, 1)
