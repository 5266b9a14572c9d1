# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Constants of the TIFF format, and names of unsupported kinds for error messages."""

from __future__ import annotations

from enum import IntEnum


class Tag(IntEnum):
    """Tags: the numbers of the entries in a directory."""

    NEW_SUBFILE_TYPE = 254
    SUBFILE_TYPE = 255
    WIDTH = 256
    HEIGHT = 257
    BITS = 258
    COMPRESSION = 259
    PHOTOMETRIC = 262
    FILL_ORDER = 266
    STRIP_OFFSETS = 273
    ORIENTATION = 274
    SAMPLES = 277
    ROWS_PER_STRIP = 278
    STRIP_COUNTS = 279
    MAX_VALUE = 281
    PLANAR = 284
    T4_OPTIONS = 292
    T6_OPTIONS = 293
    PREDICTOR = 317
    COLOR_MAP = 320
    TILE_WIDTH = 322
    TILE_HEIGHT = 323
    TILE_OFFSETS = 324
    TILE_COUNTS = 325
    SUB_IFDS = 330
    INK_SET = 332
    EXTRA_SAMPLES = 338
    SAMPLE_FORMAT = 339
    JPEG_TABLES = 347
    JPEG_OFFSET = 513
    JPEG_LENGTH = 514
    YCBCR_COEFFICIENTS = 529
    YCBCR_SUBSAMPLING = 530
    REFERENCE_BLACK_WHITE = 532
    CFA_PATTERN = 33422
    ICC_PROFILE = 34675
    DNG_VERSION = 50706
    CR2_SLICES = 50752


class Photometric(IntEnum):
    """The supported photometric interpretations, which define what the samples mean."""

    WHITE_IS_ZERO = 0
    BLACK_IS_ZERO = 1
    RGB = 2
    PALETTE = 3
    CMYK = 5
    YCBCR = 6
    CIELAB = 8
    ICCLAB = 9


class Compression(IntEnum):
    """The supported compressions of strips and tiles."""

    NONE = 1
    CCITT_RLE = 2
    CCITT_G3 = 3
    CCITT_G4 = 4
    LZW = 5
    OLD_JPEG = 6
    JPEG = 7
    DEFLATE = 8
    PACKBITS = 32773
    OLD_DEFLATE = 32946
    LZMA = 34925
    ZSTD = 50000
    WEBP = 50001


CCITT = (Compression.CCITT_RLE, Compression.CCITT_G3, Compression.CCITT_G4)

#: Number of colour channels of each photometric interpretation, without extra samples.
CHANNELS = {
    Photometric.WHITE_IS_ZERO: 1,
    Photometric.BLACK_IS_ZERO: 1,
    Photometric.RGB: 3,
    Photometric.PALETTE: 1,
    Photometric.CMYK: 4,
    Photometric.YCBCR: 3,
    Photometric.CIELAB: 3,
    Photometric.ICCLAB: 3,
}

#: Unsupported photometric interpretations, with their names for error messages.
OTHER_PHOTOMETRICS = {
    4: "a transparency mask",
    10: "ITU L*a*b* colours",
    32803: "the data of a camera's sensor (CFA)",
    32844: "LogL values",
    32845: "LogLuv colours",
    34892: "the data of a camera's sensor (LinearRaw)",
    51177: "a depth map",
    52527: "a semantic mask",
}
#: Unsupported compressions, with their names for error messages.
OTHER_COMPRESSIONS = {
    9: "JBIG",
    10: "JBIG",
    32766: "NeXT",
    32771: "CCITT RLE (word aligned)",
    32809: "ThunderScan",
    32908: "Pixar film",
    32909: "PixarLog",
    33003: "JPEG 2000",
    33005: "JPEG 2000",
    33007: "JPEG XR or ALT JPEG",
    34661: "JBIG",
    34676: "SGI Log",
    34677: "SGI Log 24",
    34712: "JPEG 2000",
    34887: "LERC",
    34892: "lossy DNG JPEG",
    34926: "old Zstandard",
    34927: "old WebP",
    34934: "JPEG XR",
    50002: "JPEG XL",
    52546: "JPEG XL",
}
