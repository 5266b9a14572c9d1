# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests what the options of the video routes mean, and which are refused."""

from __future__ import annotations

from typing import get_args

import pytest

from app.errors import BadRequest
from app.rendering.options import RequestOptions, Stereo
from app.video.options import DepthFilmOptions, Pair, StereoFilmOptions
from app.video.work import FilmWork

SINGLE_MAPS = FilmWork("zip", sampling="interval", fps=1, max_frames=30, is_steady=False)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ({}, SINGLE_MAPS),
        (
            {"fps": "1", "max_frames": "30", "method": "interval", "output_format": "zip"},
            SINGLE_MAPS,
        ),
        (
            {"fps": "1", "max_frames": "5", "method": "keyframes"},
            FilmWork("zip", sampling="keyframes", max_frames=5, is_steady=False),
        ),
        ({"output_format": "mp4"}, FilmWork("mp4", codec="h264")),
        ({"output_format": "mkv"}, FilmWork("mkv", codec="ffv1")),
        (
            {"output_format": "mkv", "codec": "hevc", "colormap": "turbo", "invert": "true"},
            FilmWork("mkv", codec="hevc", colormap="turbo", invert=True),
        ),
        ({"output_format": "mp4", "max_frames": "9"}, FilmWork("mp4", codec="h264", max_frames=9)),
        (
            {"output_format": "mp4", "fps": "5"},
            FilmWork("mp4", codec="h264", sampling="interval", fps=5),
        ),
        (
            {"output_format": "mp4", "method": "interval"},
            FilmWork("mp4", codec="h264", sampling="interval", fps=1),
        ),
        (
            {"output_format": "mp4", "method": "keyframes", "start": "2.5", "duration": "4"},
            FilmWork("mp4", codec="h264", sampling="keyframes", start=2.5, seconds=4),
        ),
    ],
)
def test_depth_of_a_film(given: dict[str, str], meant: FilmWork) -> None:
    assert DepthFilmOptions.parse(given).work() == meant


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ({}, FilmWork("mp4", codec="h264", stereo="sbs")),
        (
            {"divergence": "2.0", "format": "SBS_HALF", "codec": "hevc", "batch_size": "10"},
            FilmWork("mp4", codec="hevc", stereo="half-sbs"),
        ),
        ({"format": "SBS_FULL", "stereo": "sbs"}, FilmWork("mp4", codec="h264", stereo="sbs")),
        (
            {"stereo": "half-tb", "output_format": "mkv", "codec": "vp9", "swap": "true"},
            FilmWork("mkv", codec="vp9", stereo="half-tb", swap=True),
        ),
        (
            {"stereo": "cross", "convergence": "0", "divergence": "3.5", "start": "1"},
            FilmWork("mp4", codec="h264", stereo="cross", convergence=0, divergence=3.5, start=1),
        ),
    ],
)
def test_3d_films(given: dict[str, str], meant: FilmWork) -> None:
    assert StereoFilmOptions.parse(given).work() == meant


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (
            {"fps": "2", "max_frames": "7", "start": "1"},
            FilmWork("none", sampling="interval", fps=2, max_frames=7, start=1),
        ),
        ({"output_format": "mp4", "colormap": "turbo"}, FilmWork("none")),
        (
            {"output_format": "mkv", "codec": "ffv1", "max_frames": "9"},
            FilmWork("none", max_frames=9),
        ),
        (
            {"method": "keyframes", "invert": "true"},
            FilmWork("none", sampling="keyframes", max_frames=30),
        ),
    ],
)
def test_counting_takes_the_same_frames(given: dict[str, str], meant: FilmWork) -> None:
    assert DepthFilmOptions.parse(given).counting() == meant


def test_every_arrangement_of_photos_is_there_for_films() -> None:
    assert {*get_args(Pair), "none"} == set(get_args(Stereo))


@pytest.mark.parametrize(
    ("options", "given", "message"),
    [
        (DepthFilmOptions, {"divergence": "2"}, "divergence: no option here"),
        (DepthFilmOptions, {"fps": "2", "method": "keyframes"}, "fps: only with method=interval"),
        (DepthFilmOptions, {"codec": "h264"}, "codec: only with output_format=mp4 or mkv"),
        (DepthFilmOptions, {"output_format": "mp4", "codec": "ffv1"}, "ffv1 needs output_format=m"),
        (DepthFilmOptions, {"output_format": "mkv", "colormap": "turbo"}, "colormap: ffv1"),
        (DepthFilmOptions, {"output_format": "gif"}, "output_format: allowed: 'zip', 'mp4' or"),
        (DepthFilmOptions, {"fps": "0"}, "fps: "),
        (DepthFilmOptions, {"fps": "inf"}, "fps: "),
        (DepthFilmOptions, {"max_frames": "0"}, "max_frames: "),
        (DepthFilmOptions, {"max_frames": "1.5"}, "max_frames: "),
        (DepthFilmOptions, {"method": "all"}, "method: allowed: 'interval' or 'keyframes'"),
        (DepthFilmOptions, {"start": "-1"}, "start: "),
        (DepthFilmOptions, {"duration": "0"}, "duration: "),
        (StereoFilmOptions, {"format": "SBS_FULL", "stereo": "tb"}, "format=SBS_FULL means"),
        (StereoFilmOptions, {"stereo": "none"}, "stereo: allowed: 'sbs'"),
        (StereoFilmOptions, {"stereo": "left", "swap": "1"}, "ask for stereo=right instead"),
        (StereoFilmOptions, {"codec": "ffv1"}, "codec: allowed: 'h264', 'hevc', 'av1' or 'vp9'"),
        (StereoFilmOptions, {"batch_size": "0"}, "batch_size: "),
        (StereoFilmOptions, {"divergence": "11"}, "divergence: "),
        (StereoFilmOptions, {"colormap": "gray"}, "colormap: no option here"),
    ],
)
def test_what_is_refused(
    options: type[RequestOptions], given: dict[str, str], message: str
) -> None:
    with pytest.raises(BadRequest) as refused:
        options.parse(given)
    assert message in refused.value.message
    assert refused.value.title == "Invalid option"
