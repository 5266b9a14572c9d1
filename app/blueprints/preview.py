# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The route for small pictures of photos, which the console shows where a browser cannot."""

from __future__ import annotations

from flask import Blueprint, Response
from flask.typing import ResponseReturnValue

from app.blueprints import headers
from app.blueprints.exchange import (
    NO_MODEL,
    disconnect_check,
    options_given,
    record_result,
    runtime,
    uploaded_image,
)
from app.rendering.preview import MIMETYPES, PreviewOptions

blueprint = Blueprint("preview", __name__)


@blueprint.post("/api/preview")
def preview() -> ResponseReturnValue:
    """Answer a photo with a small picture of it: upright, sRGB, JPEG or WebP."""
    photo, _ = uploaded_image()
    options = PreviewOptions.parse(options_given())
    result = runtime().preview.run(photo, options, disconnect_check())
    record_result(None, result)
    response = Response(result.file, mimetype=MIMETYPES[options.format])
    response.headers[headers.MODEL_USED] = NO_MODEL
    return response
