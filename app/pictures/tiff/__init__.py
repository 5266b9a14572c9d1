# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Reads TIFF files: chooses the right picture in a file and decodes its pixels.

Pillow does not read clients' TIFF files directly, because it takes the thumbnail of a camera RAW,
decodes many kinds of samples wrongly, and allocates as much memory as a file demands. This package
parses directories within limits and refuses unsupported kinds by name; libtiff only decompresses
bytes. The library tifffile would need imagecodecs with about 80 native decoders, and would not
handle colours, budgets and the choice of the page.
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

_PROFILE_BYTES = 1 << 23  # longest accepted ICC profile; printer profiles have up to 3 MB


def read(file: BinaryIO, max_pixels: int) -> Image.Image:
    """Decode the main picture of a TIFF file and turn it upright.

    Args:
        file: TIFF or BigTIFF, seekable.
        max_pixels: budget for width x height; the limits of tiles and samples depend on it.

    Returns:
        An image in mode "L", "LA", "RGB", "RGBA" or "CMYK", 8 bits per channel, with
        unpremultiplied alpha. ``info`` has the ICC profile, if there is one.

    Raises:
        BadRequest: the file is damaged, incomplete, a camera RAW, or of an unsupported kind.
        TooLarge: the file exceeds the budget.
    """
    tiff = Tiff(file)
    directory = choose(tiff)
    image = _whole_jpeg(tiff, directory, max_pixels)
    if image is None:
        image = _pixels(tiff, directory, layout(tiff, directory, max_pixels))
        profile = directory.raw(Tag.ICC_PROFILE, _PROFILE_BYTES)
        if profile is not None:
            image.info["icc_profile"] = profile
    # A SubIFD without an orientation tag has the orientation of page 1.
    first = next(tiff.chain()).integer(Tag.ORIENTATION, 1)
    return orientation.upright(image, directory.integer(Tag.ORIENTATION, first))


def _pixels(tiff: Tiff, directory: Directory, found: Layout) -> Image.Image:
    """Decode the pixels of a picture, band by band to save memory."""
    found = with_jpeg_colours(tiff, directory, found)
    values = (rows for _, rows in _numbers(tiff, directory, found))
    how = scale(found, directory.integer(Tag.MAX_VALUE, 0), values)
    colours = Colours(directory, found, how, alpha_scale(found))
    image = Image.new(colours.mode, (found.width, found.height))
    for top, rows in _numbers(tiff, directory, found):
        image.paste(colours.image(rows), (0, top))
    return image


def _numbers(tiff: Tiff, directory: Directory, found: Layout) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield each band's first row and used samples, without the padding rows of tiles."""
    for top, lines in bands(tiff, directory, found):
        if top < found.height:
            yield top, numbers(lines, found)[: found.height - top]


def _whole_jpeg(tiff: Tiff, directory: Directory, max_pixels: int) -> Image.Image | None:
    """The picture of a directory that embeds a complete JPEG file; None for other directories.

    Previews in RAW files are stored this way, with compression 6 ("old-style JPEG"). Other uses of
    that compression are not supported.
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
