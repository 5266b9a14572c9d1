# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Which encoders this machine has for films, and how they are set."""

from __future__ import annotations

import os
from contextlib import suppress
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import cast

import av
import av.codec
import numpy as np
from av.video.codeccontext import VideoCodecContext

from app.errors import BadRequest
from app.video.film import Size
from app.video.work import Codec

# FFmpeg's names of the encoders of each codec, the preferred ones first.
_ENCODERS: dict[Codec, tuple[str, ...]] = {
    "h264": ("h264_nvenc", "h264_qsv", "libx264"),
    "hevc": ("hevc_nvenc", "hevc_qsv", "libx265"),
    "av1": ("av1_nvenc", "av1_qsv", "libsvtav1"),
    "vp9": ("libvpx-vp9",),
    "ffv1": ("ffv1",),
}
_HARDWARE = ("_nvenc", "_qsv")
# Hardware encoders refuse smaller pictures than about 160x64.
_TRIAL_SIZE = (256, 256)

# The cheapest settings that lose little, measured with side by side films of 3840x1080. Beside its
# "medium", x264 needs less than half of the time for the same quality and bytes.
_OPTIONS: dict[str, dict[str, str]] = {
    "libx264": {
        "preset": "veryfast",
        "crf": "18",
        "x264-params": "subme=1:me=dia:ref=1",
    },
    "libx265": {"preset": "ultrafast", "crf": "19", "x265-params": "log-level=none"},
    "libsvtav1": {"preset": "10", "crf": "28"},
    "libvpx-vp9": {
        "deadline": "realtime",
        "cpu-used": "7",
        "row-mt": "1",
        "crf": "22",
        "b": "0",
        "lag-in-frames": "0",
    },
    "ffv1": {"level": "3", "slices": "4", "slicecrc": "1"},
}
_NVENC = {"preset": "p5", "rc": "vbr", "cq": "19"}
_QSV = {"preset": "medium", "global_quality": "20"}
# With these, a level of a map comes back as that level, or the next one.
_MAP_QUALITY = {
    "libx264": "14",
    "libx265": "14",
    "libsvtav1": "16",
    "libvpx-vp9": "14",
    "_nvenc": "14",
    "_qsv": "14",
}


def available() -> dict[Codec, str]:
    """The codecs that films can be written with here, and the encoder that each one uses."""
    found: dict[Codec, str] = {}
    for codec, names in _ENCODERS.items():
        name = next((name for name in names if _works(name, _TRIAL_SIZE)), None)
        if name is not None:
            found[codec] = name
    return found


def choose(codec: Codec, size: Size = _TRIAL_SIZE) -> str:
    """The encoder for films of this codec and size.

    Raises:
        BadRequest: there is none; the message names the codecs that can be had.
    """
    os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 reports to stderr otherwise
    for name in _ENCODERS[codec]:
        if _works(name, size):
            return name
    others = ", ".join(other for other in available() if other != "ffv1")
    raise BadRequest(
        f"this build has no encoder for {codec}; take codec={others}"
        if others
        else f"this build has no encoder for {codec}, and none for another codec of films"
    )


def options(name: str, *, is_map: bool = False) -> dict[str, str]:
    """The settings of an encoder.

    Args:
        name: FFmpeg's name of it.
        is_map: whether the film shows depth maps, which take few bytes and are measured.
    """
    if name.endswith("_nvenc"):
        return _NVENC | ({"cq": _MAP_QUALITY["_nvenc"]} if is_map else {})
    if name.endswith("_qsv"):
        return _QSV | ({"global_quality": _MAP_QUALITY["_qsv"]} if is_map else {})
    return _OPTIONS[name] | ({"crf": _MAP_QUALITY[name]} if is_map and name != "ffv1" else {})


def open_encoder(context: VideoCodecContext) -> None:
    """Open an encoder without a change of the priority of this process.

    SVT-AV1, if the user is root, gives the highest real-time priority to its threads and to the
    one that opens it, which passes it on to all that it starts later. Until the film were written,
    nothing else on the machine would run: no request, no other film.
    """
    policy, parameter = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        context.open(strict=False)
    finally:
        for thread in Path("/proc/self/task").iterdir():
            with suppress(ProcessLookupError):  # it may have just ended
                os.sched_setscheduler(int(thread.name), policy, parameter)


def is_known(name: str) -> bool:
    """Whether FFmpeg was built with this encoder."""
    try:
        av.codec.Codec(name, "w")
    except ValueError:
        return False
    return True


def _works(name: str, size: Size) -> bool:
    """Whether FFmpeg has the encoder, and the hardware that it needs is here."""
    if not is_known(name):
        return False
    return not name.endswith(_HARDWARE) or _encodes(name, size)


@lru_cache(maxsize=64)
def _encodes(name: str, size: Size) -> bool:
    """Whether an encoder takes a frame: hardware encoders exist without their hardware, too."""
    width, height = size
    try:
        context = cast(VideoCodecContext, av.CodecContext.create(name, "w"))
        context.width, context.height = width, height
        context.pix_fmt = "nv12"
        context.framerate = Fraction(25)
        context.options = options(name)
        black = np.full((height * 3 // 2, width), 128, np.uint8)
        context.encode(av.VideoFrame.from_ndarray(black, format="nv12"))
        context.encode(None)
    except (av.FFmpegError, ValueError, RuntimeError):
        return False
    return True
