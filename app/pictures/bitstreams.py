# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Reads picture sizes and colours from HEVC and AV1 bitstreams, and checks for missing data.

The sizes in the container may be wrong, so the headers of the bitstreams are parsed. Completeness
is checked as far as that is possible without decoding.

Sources: ITU-T H.265 (clause 7.3), AV1 Bitstream & Decoding Process Specification (clause 5), and
their bindings to ISO files (hvcC: ISO/IEC 14496-15, av1C: AV1-ISOBMFF).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from app.pictures.boxes import Fields, Malformed

# A HEVC unit never has three zero bytes in a row (emulation prevention). A longer run means that a
# download reserved the space and was then interrupted.
_ZEROS = bytes(16)
# AV1 allows zero bytes, but its arithmetic coder never ends a picture with this many of them.
_AV1_ZEROS = bytes(64)
# Flash memory and some disks fill unwritten space with ones; no HEVC or AV1 picture ends that way.
_ONES = b"\xff" * 64
_MAX_UNITS = 10_000
_SPS = 33
_Sizes = tuple[tuple[int, int], tuple[int, int]]


@dataclass(frozen=True)
class Coded:
    """What the headers of a bitstream say."""

    #: width and height of the decoded picture, pixels
    size: tuple[int, int]
    #: upper limit of the pixels that a decoder allocates for one picture
    pixels: int
    #: CICP code points (ITU-T H.273) of primaries and transfer; 2 is "unspecified"
    colour: tuple[int, int] = (2, 2)


class Incomplete(Exception):
    """A part of the data is missing, for example after an interrupted download."""


def hevc(config: memoryview, data: bytes, declared: tuple[int, int]) -> Coded:
    """Read the headers of a HEVC picture.

    Args:
        config: content of the hvcC box.
        data: NAL units, each preceded by its length.
        declared: the size in the container. If several parameter sets have different sizes, the
            set with this size counts.

    Raises:
        Incomplete: units are cut off or filled with zeros or ones.
        Malformed: the data is not a HEVC picture.
    """
    if len(config) < 23:
        raise Malformed("its HEVC configuration (hvcC) is damaged")
    found = list(_configured(config.tobytes()))
    length_size = (config[21] & 3) + 1
    at = units = pictures = 0
    while at < len(data):
        length = int.from_bytes(data[at : at + length_size], "big")
        at += length_size
        units += 1
        if not length or at + length > len(data):
            raise Incomplete
        if units > _MAX_UNITS or length < 2:
            raise Malformed("its HEVC data is damaged")
        kind = data[at] >> 1 & 63
        pictures += kind < 32
        if kind == _SPS:
            found.append(hevc_size(data[at : at + length]))
        at += length
    if not pictures or _ZEROS in data or data.endswith(_ONES):
        raise Incomplete
    sizes = [size for size in found if size is not None]
    if not sizes:
        raise Malformed("its HEVC configuration (hvcC) holds no picture size")
    return Coded(
        next((shown for _, shown in sizes if shown == declared), sizes[0][1]),
        max(_pixels(*pair) for pair in sizes),
    )


def _pixels(coded: tuple[int, int], shown: tuple[int, int]) -> int:
    """Count the pixels of a picture, without padding to whole coding blocks.

    Margins that are larger than such padding are counted, because they could be of any size.
    """
    within = all(0 <= all_of - part < 64 for all_of, part in zip(coded, shown, strict=True))
    width, height = shown if within else coded
    return width * height


@lru_cache(maxsize=16)  # all tiles of a picture have the same hvcC box
def _configured(config: bytes) -> tuple[_Sizes | None, ...]:
    """Sizes of the sequence parameter sets in a hvcC box."""
    fields = Fields(memoryview(config), 22)
    units: list[bytes] = []
    for _ in range(fields.number(1)):
        kind = fields.number(1) & 63
        for _ in range(fields.number(2)):
            length = fields.number(2)
            unit = config[fields.at : fields.at + length]
            fields.at += length
            if len(unit) < length or len(units) > 64:
                raise Malformed("its HEVC configuration (hvcC) is damaged")
            if kind == _SPS:
                units.append(unit)
    return tuple(hevc_size(unit) for unit in units)


def hevc_size(unit: bytes) -> _Sizes | None:
    """Read the coded size and the cropped size from a sequence parameter set.

    Returns None if the set belongs to an enhancement layer: its syntax differs, and still pictures
    do not need it.
    """
    if len(unit) < 4:
        raise Malformed("its HEVC configuration (hvcC) is damaged")
    if (unit[0] & 1) << 5 | unit[1] >> 3:
        return None
    bits = Bits(unit[2:2048].replace(b"\0\0\3", b"\0\0"))
    bits.read(4)
    layers = bits.read(3)
    bits.read(1 + 96)
    present = [(bits.read(1), bits.read(1)) for _ in range(layers)]
    if layers:
        bits.read(2 * (8 - layers))
    for profile, level in present:
        bits.read(88 * profile + 8 * level)
    bits.golomb()
    chroma = bits.golomb()
    if chroma > 3:
        raise Malformed("its HEVC configuration (hvcC) is damaged")
    if chroma == 3:
        bits.read(1)
    width, height = bits.golomb(), bits.golomb()
    left = right = top = bottom = 0
    if bits.read(1):
        left, right, top, bottom = (bits.golomb() for _ in range(4))
    across, down = 2 if chroma in (1, 2) else 1, 2 if chroma == 1 else 1
    shown = (width - across * (left + right), height - down * (top + bottom))
    return (width, height), shown


def av1(config: memoryview, data: bytes) -> Coded:
    """Read the headers of an AV1 picture.

    Args:
        config: content of the av1C box.
        data: open bitstream units (OBUs).

    Raises:
        Incomplete: units are cut off or filled with zeros or ones.
        Malformed: the data is not an AV1 picture.
    """
    sequences = [_sequence(body) for kind, body in _obus(config[4:].tobytes()) if kind == 1]
    pixels = frames = 0
    for kind, body in _obus(data):
        if kind == 1:
            sequences.append(_sequence(body))
        elif kind in (3, 6):
            frames += 1
            if not sequences:
                raise Malformed("its AV1 data has no sequence header")
            pixels = max(pixels, sequences[-1].frame_pixels(body))
    if not frames or data.endswith((_AV1_ZEROS, _ONES)):
        raise Incomplete
    largest = max(sequences, key=lambda sequence: sequence.width * sequence.height)
    size = (largest.width, largest.height)
    return Coded(size, max(pixels, size[0] * size[1]), largest.colour)


def _obus(data: bytes) -> list[tuple[int, bytes]]:
    """The type and the first bytes of each open bitstream unit (OBU)."""
    units: list[tuple[int, bytes]] = []
    at = 0
    while at < len(data):
        head = data[at]
        kind = head >> 3 & 15
        if head & 0x80 or not kind or len(units) >= _MAX_UNITS:
            if not any(data[at:]):
                raise Incomplete
            raise Malformed("its AV1 data is damaged")
        at += 2 if head & 4 else 1
        length = len(data) - at
        if head & 2:
            length, at = _leb128(data, at)
        if length < 0 or at + length > len(data):
            raise Incomplete
        units.append((kind, data[at : at + min(length, 1024)]))
        at += length
    return units


def _leb128(data: bytes, at: int) -> tuple[int, int]:
    """A LEB128 number, and the position after it."""
    value = 0
    for index, byte in enumerate(data[at : at + 8]):
        value |= (byte & 127) << 7 * index
        if byte < 128:
            return value, at + index + 1
    raise Incomplete


@dataclass(frozen=True)
class _Sequence:
    """The fields of an AV1 sequence header that affect the size of a frame."""

    width: int
    height: int
    width_bits: int
    height_bits: int
    reduced: bool
    #: bits of the presentation time, between show_frame and showable_frame in a frame header
    time_bits: int
    id_bits: int
    screen_tools: int
    integer_mv: int
    colour: tuple[int, int]

    def frame_pixels(self, frame: bytes) -> int:
        """An upper limit of a frame's pixels, read from the start of its header.

        A frame may override the sequence's size. The overriding size comes late in the header and
        is not parsed, so the largest size that its fields can hold is returned. Still pictures
        normally override nothing.
        """
        usual = self.width * self.height
        bits = Bits(frame)
        if self.reduced or bits.read(1):
            return usual
        kind = bits.read(2)
        shown = bits.read(1)
        if shown:
            bits.read(self.time_bits)
        else:
            bits.read(1)
        if kind != 3 and not (kind == 0 and shown):
            bits.read(1)  # error_resilient_mode
        bits.read(1)  # disable_cdf_update
        tools = bits.read(1) if self.screen_tools == 2 else self.screen_tools
        if tools and self.integer_mv == 2:
            bits.read(1)
        bits.read(self.id_bits)
        overrides = kind == 3 or bits.read(1)
        return 1 << (self.width_bits + self.height_bits) if overrides else usual


def _sequence(body: bytes) -> _Sequence:
    """Read an AV1 sequence header (clause 5.5)."""
    bits = Bits(body)
    profile = bits.read(3)
    bits.read(1)
    reduced = bool(bits.read(1))
    time_bits = 0
    if reduced:
        bits.read(5)
    else:
        time_bits = _operating_points(bits)
    width_bits, height_bits = bits.read(4) + 1, bits.read(4) + 1
    width, height = bits.read(width_bits) + 1, bits.read(height_bits) + 1
    id_bits, tools, integer = 0, 2, 2
    if not reduced and bits.read(1):
        delta = bits.read(4) + 2
        id_bits = delta + bits.read(3) + 1
    bits.read(3)  # superblock size, filter intra, intra edge filter
    if not reduced:
        bits.read(4)  # inter tools
        if bits.read(1):
            bits.read(2)
            order_hints = True
        else:
            order_hints = False
        tools = 2 if bits.read(1) else bits.read(1)
        if tools:
            integer = 2 if bits.read(1) else bits.read(1)
        if order_hints:
            bits.read(3)
    bits.read(3)  # superres, cdef, restoration
    colour = _colour(bits, profile)
    return _Sequence(
        width, height, width_bits, height_bits, reduced, time_bits, id_bits, tools, integer, colour
    )


def _operating_points(bits: Bits) -> int:
    """Skip timing and operating points. Returns the bits of the presentation time of a frame."""
    delay_bits = time_bits = 0
    equal_interval = False
    if bits.read(1):
        bits.read(64)
        equal_interval = bool(bits.read(1))
        if equal_interval:
            bits.golomb()
        if bits.read(1):
            delay_bits = bits.read(5) + 1
            bits.read(32 + 5)
            time_bits = bits.read(5) + 1
    initial_delay = bits.read(1)
    for _ in range(bits.read(5) + 1):
        bits.read(12)
        if bits.read(5) > 7:
            bits.read(1)
        if delay_bits and bits.read(1):
            bits.read(2 * delay_bits + 1)
        if initial_delay and bits.read(1):
            bits.read(4)
    return 0 if equal_interval else time_bits


def _colour(bits: Bits, profile: int) -> tuple[int, int]:
    """Primaries and transfer of a sequence header's color_config (clause 5.5.2)."""
    deep = bits.read(1)
    if profile == 2 and deep:
        bits.read(1)
    if profile != 1:
        bits.read(1)  # monochrome
    return (bits.read(8), bits.read(8)) if bits.read(1) else (2, 2)


class Bits:
    """Reads bits, most significant bit first."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def read(self, count: int) -> int:
        """An unsigned number of ``count`` bits."""
        self._left -= count
        if self._left < 0:
            raise Malformed("its bitstream's head is too short")
        return self._value >> self._left & ((1 << count) - 1)

    def golomb(self) -> int:
        """An Exp-Golomb number: ue(v) of H.265, uvlc() of AV1."""
        zeros = 0
        while not self.read(1):
            zeros += 1
            if zeros > 31:
                raise Malformed("its bitstream's head is damaged")
        return (1 << zeros) - 1 + self.read(zeros)
