# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The part of the OpenAPI document about films."""

from __future__ import annotations

from app.blueprints import headers, video, video_answers
from app.blueprints import openapi_parts as parts
from app.blueprints.openapi_jobs import or_job
from app.blueprints.openapi_parts import Json
from app.video.options import DepthFilmOptions, StereoFilmOptions

_FILM = {
    "video": {
        "type": "string",
        "format": "binary",
        "description": "a film: MP4, MOV, MKV, WebM, AVI or MPEG-TS",
    }
}
_TEXT = {"schema": {"type": "string"}}
_HEADERS = {
    "Content-Disposition": _TEXT,
    headers.MODEL_USED: _TEXT,
    headers.FRAMES_TOTAL: {
        "schema": {"type": "integer"},
        "description": "about how many frames the answer will have, as the film says",
    },
    headers.WARNING: _TEXT | {"description": "such as that the sound is left out"},
}


def paths(provenance: Json) -> Json:
    """The routes for films.

    Args:
        provenance: the headers that tell what an answer was made with.
    """
    success = {"headers": _HEADERS | provenance}
    kinds = list(video.MIMETYPES.values())
    return {
        "/api/video/depth": {
            "post": or_job(
                parts.of_file(
                    "A film to depth maps: a ZIP of PNG files, or a film with steady depth",
                    _FILM,
                    DepthFilmOptions,
                    success | parts.files("The maps, sent while they are made", kinds),
                )
            )
        },
        "/api/video/sbs": {
            "post": or_job(
                parts.of_file(
                    "A film to a 3D film, both views side by side or arranged otherwise",
                    _FILM,
                    StereoFilmOptions,
                    success | parts.files("The 3D film, sent while it is made", kinds[1:]),
                )
            )
        },
        "/api/video/frames": {
            "post": parts.of_file(
                "The number of frames that /api/video/depth would make with the same options, and "
                "the film's size and length",
                _FILM,
                DepthFilmOptions,
                parts.json(video_answers.VideoFrames),
                uses_model=False,
            )
        },
    }
