# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The route for depth maps, with the address and form fields that ImmichVR uses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import BinaryIO, cast

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue

from app.blueprints import file_names, headers, managed
from app.blueprints.exchange import (
    NO_MODEL,
    disconnect_check,
    options_given,
    record_result,
    runtime,
    uploaded_image,
)
from app.errors import BadRequest
from app.rendering import stereo_layouts
from app.rendering.formats import KINDS
from app.rendering.options import DepthOptions

blueprint = Blueprint("depth", __name__)


@blueprint.post("/api/depth")
def depth() -> ResponseReturnValue:
    """Answer a photo with a greyscale PNG of the same size, or with what the options ask for."""
    service = runtime()
    managed.of_depth(request.args.get("model", ""))  # refuses an unknown one before the photo comes
    photo, name = uploaded_image()
    given = options_given()
    options = DepthOptions.parse(given)
    own_map = _own_map(given, options)
    if own_map is not None:
        pair = service.own_pairs.run(photo, own_map, options, disconnect_check())
        record_result(None, pair)
        response = _file(pair.file, name, options)
        response.headers[headers.MODEL_USED] = NO_MODEL
        return response
    spec = managed.of_depth(given.get("model", ""))
    result = service.depth.run(photo, spec, options, disconnect_check())
    record_result(spec, result)
    response = _file(result.file, name, options)
    response.headers[headers.MODEL_USED] = spec.key
    response.headers[headers.MODEL_WEIGHTS] = result.weights
    response.headers.update(headers.depth_values(result))
    return response


def _own_map(given: Mapping[str, str], options: DepthOptions) -> BinaryIO | None:
    """The multipart file ``depth``, a depth map from which to make a stereo pair, if there is one.

    Raises:
        BadRequest: it is no file, or another option has no meaning beside it.
    """
    upload = request.files.get("depth")
    if upload is None or not upload.filename:  # browsers send an empty part if no file was chosen
        if given.get("depth"):
            raise _wrong("depth is a file: send the map as multipart file field 'depth'")
        return None
    if not options.is_pair:
        raise _wrong("depth, a map of your own, is for a stereo pair: add stereo=sbs or another")
    if given.get("model"):
        raise _wrong("model: none is used where the map comes as depth; leave model out")
    if options.size == "model":
        raise _wrong("size=model: no model is used where the map comes as depth; give pixels")
    return cast(BinaryIO, upload.stream)


def _wrong(message: str) -> BadRequest:
    return BadRequest(message, title="Invalid option")


def _file(content: bytes, upload_name: str, options: DepthOptions) -> Response:
    response = Response(content, mimetype=KINDS[options.format].mimetype)
    response.headers["Content-Disposition"] = attachment(upload_name, options)
    return response


def attachment(upload_name: str, options: DepthOptions) -> str:
    """The Content-Disposition of an answer.

    The file name is ``depth_<name of the upload without its last suffix>.png``, or has the suffix
    of the chosen format. The name of a stereo pair ends as players know it, for example
    ``<name>_LRF_Full_SBS.png``, see ``stereo_layouts.LAYOUTS``.
    """
    stem = file_names.stem(upload_name)
    stem = f"{stem}{stereo_layouts.ending(options)}" if options.is_pair else f"depth_{stem}"
    return file_names.attachment(f"{stem}{KINDS[options.format].suffix}")
