# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Turns decoded frames into pictures as players show them."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import av
import cv2
import numpy as np
from av.sidedata.sidedata import Type
from av.video.format import VideoFormat
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

from app.errors import BadRequest, TooLarge
from app.video.film import Size
from app.video.hdr import BITS, USUAL_PEAK, ToSdr

Image = NDArray[np.uint8]

# Values of AVColorSpace (ITU-T H.273, MatrixCoefficients) that swscale has a matrix for.
_UNSPECIFIED = 2
_MATRICES = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
    10: Colorspace.BT2020,
}
_OTHER_MATRICES = {8: "YCgCo", 11: "YDzDx", 14: "ICtCp", 15: "IPT-C2", 16: "YCgCo-R"}
# Values of AVColorTransferCharacteristic and AVColorPrimaries (H.273, too).
_HDR = {16: "PQ", 18: "HLG"}
_WIDE = {9: "BT.2020", 11: "P3", 12: "P3"}
# A film may state the shape of its pixels; beyond this it is broken.
_MOST_STRETCHED = 16

_FAST = Interpolation.BILINEAR
_EXACT = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT


@dataclass(frozen=True)
class Turn:
    """How players turn frames: columns and rows swapped, then flipped."""

    swap: bool = False
    flip_columns: bool = False
    flip_rows: bool = False

    @classmethod
    def of(cls, frame: av.VideoFrame) -> Turn:
        """From the display matrix, which says of a pixel at x, y that it is shown at
        a x + c y, b x + d y. Other angles than right ones become the nearest of them.
        """
        side_data = frame.side_data.get(Type.DISPLAYMATRIX)  # type: ignore[call-overload]
        if side_data is None:
            return cls()
        numbers = np.frombuffer(side_data, np.int32).astype(float)
        a, b, c, d = (float(numbers[i]) for i in (0, 1, 3, 4))
        if abs(b) + abs(c) > abs(a) + abs(d):
            return cls(True, c < 0, b < 0)
        return cls(False, a < 0, d < 0)

    @property
    def degrees(self) -> int:
        """Degrees clockwise, apart from mirroring."""
        if self.swap:
            return 90 if not self.flip_rows else 270
        return 180 if self.flip_columns and self.flip_rows else 0

    def size(self, size: Size) -> Size:
        return (size[1], size[0]) if self.swap else size

    def apply(self, image: Image) -> Image:
        if self.swap:
            image = np.asarray(cv2.transpose(image), np.uint8)
        if self.flip_columns or self.flip_rows:
            code = -1 if self.flip_columns and self.flip_rows else int(self.flip_columns)
            image = np.asarray(cv2.flip(image, code), np.uint8)
        return image


class Pictures:
    """Makes pictures of one film's frames; all of them have the size of the first.

    Args:
        first: the first frame.
        aspect: width of a pixel by its height, None or 0: unknown, so square.
        max_pixels: limit of a frame's pixels.

    Raises:
        BadRequest, TooLarge: the frame cannot be shown.
    """

    def __init__(self, first: av.VideoFrame, aspect: Fraction | None, max_pixels: int) -> None:
        self._aspect = aspect if aspect and aspect > 0 else Fraction(1)
        self._max_pixels = max_pixels
        self._reformatter = VideoReformatter()
        self._turn = Turn.of(first)
        self._to_sdr: dict[tuple[str, str], ToSdr] = {}
        self.is_hdr = first.color_trc in _HDR
        self.rotation = self._turn.degrees
        #: size of the pictures
        self.size = self._turn.size(self._square(first))
        #: whether a frame of another size came
        self.has_changed = False

    def picture(self, frame: av.VideoFrame) -> Image:
        """The picture of a frame. A frame of another size is fitted in, with black around it."""
        size = self._square(frame)
        if self._turn.size(size) == self.size:
            return self._turn.apply(self._rgb(frame, size))
        self.has_changed = True
        width, height = self._turn.size(self.size)
        scale = min(width / size[0], height / size[1])
        fitted = (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
        canvas = np.zeros((height, width, 3), np.uint8)
        left, top = (width - fitted[0]) // 2, (height - fitted[1]) // 2
        canvas[top : top + fitted[1], left : left + fitted[0]] = self._rgb(frame, fitted)
        return self._turn.apply(canvas)

    def _square(self, frame: av.VideoFrame) -> Size:
        """The frame's size with square pixels: stretched, never squeezed."""
        width, height = frame.width, frame.height
        check_size(width, height, self._max_pixels)
        if not Fraction(1, _MOST_STRETCHED) <= self._aspect <= _MOST_STRETCHED:
            raise BadRequest(
                f"The film's pixels are {self._aspect.numerator}:{self._aspect.denominator} "
                "wide, which no player shows; set its pixel aspect ratio to 1:1"
            )
        if self._aspect > 1:
            width = round(width * self._aspect)
        else:
            height = round(height / self._aspect)
        check_size(width, height, self._max_pixels)
        return width, height

    def _rgb(self, frame: av.VideoFrame, size: Size) -> Image:
        """The frame as RGB in the given size, not turned yet."""
        if frame.color_trc in _HDR or frame.color_primaries in _WIDE:
            return self._from_wide(frame, size)
        layout = frame.format
        has_alpha = any(component.is_alpha for component in layout.components)
        depth = max(component.bits for component in layout.components)
        is_plain = depth == 8 and size == (frame.width, frame.height)
        pixels = self._reformat(
            frame, size, "rgba" if has_alpha else "rgb24", _FAST if is_plain else _EXACT
        ).to_ndarray()
        if has_alpha:
            alpha = pixels[..., 3:].astype(np.uint16)
            pixels = ((pixels[..., :3] * alpha + 127) // 255).astype(np.uint8)
        return np.asarray(pixels, np.uint8)

    def _from_wide(self, frame: av.VideoFrame, size: Size) -> Image:
        """The same for HDR and for wide colours."""
        # HDR without further statements has the primaries that its standard names.
        kind = _HDR.get(frame.color_trc, "SDR"), _WIDE.get(frame.color_primaries, "BT.2020")
        if kind not in self._to_sdr:
            self._to_sdr[kind] = ToSdr(*kind, _peak(frame))
        planes = self._reformat(frame, size, f"gbrp{BITS}le", _EXACT).planes
        green, blue, red = (
            np.frombuffer(memoryview(plane), np.uint16).reshape(size[1], -1)[:, : size[0]]
            for plane in planes
        )
        return self._to_sdr[kind].apply(red, green, blue)

    def _reformat(
        self, frame: av.VideoFrame, size: Size, layout: str, flags: Interpolation
    ) -> av.VideoFrame:
        try:
            return self._reformatter.reformat(
                frame,
                width=size[0],
                height=size[1],
                format=layout,
                src_colorspace=_matrix(frame),
                dst_colorspace=Colorspace.ITU709,
                src_color_range=_range(frame.color_range, frame.format),
                dst_color_range=ColorRange.JPEG,
                interpolation=flags,
                threads=1,
            )
        except av.FFmpegError as error:
            raise BadRequest(
                f"The film's frames have the format {frame.format.name}, which cannot be shown; "
                "convert it to yuv420p first"
            ) from error


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Raises TooLarge for a frame beyond the limit, BadRequest for an empty one."""
    if width < 1 or height < 1:
        raise BadRequest("The film does not say how large its frames are: it is damaged")
    if width * height > max_pixels:
        raise TooLarge(
            f"The film's frames have {width}x{height} pixels, more than the {max_pixels} that a "
            "frame may have (MAX_VIDEO_PIXELS); make the film smaller first"
        )


def _matrix(frame: av.VideoFrame) -> Colorspace:
    """The matrix of a frame; where it is not stated, by the size, as players do."""
    number = int(frame.colorspace)
    if number in _OTHER_MATRICES:
        raise BadRequest(
            f"The film's colours are stored as {_OTHER_MATRICES[number]}, which is not supported; "
            "convert it to BT.709 first"
        )
    if number in _MATRICES:
        return _MATRICES[number]
    return Colorspace.ITU709 if frame.width >= 1280 or frame.height > 576 else Colorspace.ITU601


def _range(number: int, layout: VideoFormat) -> ColorRange:
    if layout.is_rgb or layout.name.startswith("yuvj"):
        return ColorRange.JPEG
    return ColorRange.JPEG if number == ColorRange.JPEG else ColorRange.MPEG


def _peak(frame: av.VideoFrame) -> float:
    """cd/m2 of the film's brightest pixel: the largest that occurs, else that of the screen on
    which the film was graded, else the usual one.
    """
    light = frame.side_data.get(Type.CONTENT_LIGHT_LEVEL)  # type: ignore[call-overload]
    if light is not None:
        most = int(np.frombuffer(light, np.uint32)[0])
        if most > 0:
            return float(most)
    screen = frame.side_data.get(Type.MASTERING_DISPLAY_METADATA)  # type: ignore[call-overload]
    if screen is not None:
        # AVMasteringDisplayMetadata: primaries, white, least and most light, as fractions
        numerator, denominator = np.frombuffer(screen, np.int32)[18:20]
        if numerator > 0 and denominator > 0:
            return float(numerator / denominator)
    return USUAL_PEAK
