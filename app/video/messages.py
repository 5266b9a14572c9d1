# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""What a film's process tells the worker, checked: a film may have taken that process over."""

from __future__ import annotations

import re
from dataclasses import asdict
from fractions import Fraction
from typing import Any

from app.decoding.wire import Message
from app.video.film import FilmInfo, Size

_NAME = re.compile(r"[A-Za-z0-9_.,-]{1,64}")
_MOST_CHARACTERS = 1000
_MOST = 2**53


def of_info(info: FilmInfo) -> Message:
    """A film's description as JSON."""
    rate = [info.frame_rate.numerator, info.frame_rate.denominator]
    return {**asdict(info), "frame_rate": rate}


def info_of(message: Any) -> FilmInfo:
    """The description that ``of_info`` wrote. Raises ValueError if it is none."""
    numerator, denominator = size_of(message["frame_rate"])
    sound = message["sound"]
    return FilmInfo(
        name_of(message["container"]),
        name_of(message["codec"]),
        size_of(message["size"]),
        Fraction(numerator, denominator),
        _optional(message["seconds"], seconds_of),
        _optional(message["frames"], count_of),
        count_of(message["rotation"]) % 360,
        bool(message["is_hdr"]),
        None if sound is None else name_of(sound),
    )


def size_of(value: Any) -> Size:
    """Two whole numbers above 0, such as a width and a height. Raises ValueError."""
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError("not two numbers")
    first, second = (count_of(each) for each in value)
    if not first or not second:
        raise ValueError("not above 0")
    return first, second


def count_of(value: Any) -> int:
    """A whole number, 0 or more. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _MOST:
        raise ValueError("not a number of things")
    return value


def seconds_of(value: Any) -> float:
    """A finite number of seconds. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _MOST:
        raise ValueError("not a time")
    return float(value)


def name_of(value: Any) -> str:
    """A name of FFmpeg's, which may stand in a header. Raises ValueError."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError("not a name")
    return value


def text_of(value: Any) -> str:
    """A text of one line for a person. Raises ValueError."""
    if not isinstance(value, str):
        raise ValueError("not a text")
    return "".join(each if each.isprintable() else " " for each in value)[:_MOST_CHARACTERS]


def _optional(value: Any, read: Any) -> Any:
    return None if value is None else read(value)
