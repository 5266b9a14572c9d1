# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""TIFF files: which picture counts, and its pixels as they are meant.

Pillow alone answers a camera RAW from its thumbnail, shows many kinds of samples wrong, and
allocates what a file asks for. Here the directories are read within bounds, kinds that are not
known to come out right are refused by name, and libtiff only unpacks bytes. (tifffile would add
imagecodecs, some 80 native decoders, and still leave colours, budgets and the choice of the page.)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from numpy.typing import NDArray
from PIL import Image

from app.pictures import orientation
from app.pictures.source import refused
from app.pictures.tiff import jpeg
from app.pictures.tiff.chunks import bands, with_jpeg_colours
from app.pictures.tiff.colours import Colours
from app.pictures.tiff.directory import Directory, Tiff
from app.pictures.tiff.layout import Layout, check_size, layout
from app.pictures.tiff.pages import choose
from app.pictures.tiff.samples import alpha_scale, numbers, scale
from app.pictures.tiff.tags import Compression, Tag

_PROFILE_BYTES = 1 << 23  # those for printing presses have up to 3 MB


def read(file: BinaryIO, max_pixels: int) -> Image.Image:
    """The picture of a TIFF file, upright.

    Args:
        file: TIFF or BigTIFF, seekable.
        max_pixels: budget for width x height; tiles and samples are bounded in proportion.

    Returns:
        "L", "LA", "RGB", "RGBA" or "CMYK", 8 bits a channel, colours not multiplied by the
        transparency; ``info`` has the ICC profile, if any.

    Raises:
        BadRequest: damaged, incomplete, a camera RAW, or of a kind that is not read.
        TooLarge: beyond the budget.
    """
    tiff = Tiff(file)
    directory = choose(tiff)
    image = _whole_jpeg(tiff, directory, max_pixels)
    if image is None:
        image = _pixels(tiff, directory, layout(tiff, directory, max_pixels))
        profile = directory.raw(Tag.ICC_PROFILE, _PROFILE_BYTES)
        if profile is not None:
            image.info["icc_profile"] = profile
    # A SubIFD without an orientation of its own is turned as page 1.
    first = next(tiff.chain()).integer(Tag.ORIENTATION, 1)
    return orientation.upright(image, directory.integer(Tag.ORIENTATION, first))


def _pixels(tiff: Tiff, directory: Directory, found: Layout) -> Image.Image:
    """The pixels of a picture, band by band."""
    found = with_jpeg_colours(tiff, directory, found)
    values = (rows for _, rows in _numbers(tiff, directory, found))
    how = scale(found, directory.integer(Tag.MAX_VALUE, 0), values)
    colours = Colours(directory, found, how, alpha_scale(found))
    image = Image.new(colours.mode, (found.width, found.height))
    for top, rows in _numbers(tiff, directory, found):
        image.paste(colours.image(rows), (0, top))
    return image


def _numbers(tiff: Tiff, directory: Directory, found: Layout) -> Iterator[tuple[int, NDArray[Any]]]:
    """Bands of the picture without what tiles add below it: first row, and samples in use."""
    for top, lines in bands(tiff, directory, found):
        if top < found.height:
            yield top, numbers(lines, found)[: found.height - top]


def _whole_jpeg(tiff: Tiff, directory: Directory, max_pixels: int) -> Image.Image | None:
    """The picture of a directory that holds a JPEG file, as the previews of RAW files do.

    They say "old-style JPEG"; other files of that kind are not read.
    """
    if directory.integer(Tag.COMPRESSION, 1) != Compression.OLD_JPEG:
        return None
    at = directory.integer(Tag.JPEG_OFFSET, 0)
    length = directory.integer(Tag.JPEG_LENGTH, 0)
    if not at and directory.count(Tag.STRIP_OFFSETS) == 1:
        at = directory.integer(Tag.STRIP_OFFSETS, 0)
        length = directory.integer(Tag.STRIP_COUNTS, 0)
    actual = jpeg.frame_size(tiff, at)
    if actual is None:
        return None
    size = directory.integer(Tag.WIDTH, actual[0]), directory.integer(Tag.HEIGHT, actual[1])
    check_size(*size, max_pixels)
    try:
        return jpeg.whole(tiff.read(at, length or tiff.length - at), size)
    except OSError:
        raise refused(
            "TIFF with old-style JPEG compression (6) cannot be read; save it with LZW or as JPEG"
        ) from None
