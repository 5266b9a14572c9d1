# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The route for depth maps, with the address and form fields that ImmichVR uses."""

from __future__ import annotations

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue

from app.blueprints import file_names, headers
from app.blueprints.exchange import disconnect_check, record_result, runtime, uploaded_image
from app.rendering.formats import KINDS
from app.rendering.options import DepthOptions

blueprint = Blueprint("depth", __name__)


@blueprint.post("/api/depth")
def depth() -> ResponseReturnValue:
    """Answer a photo with a greyscale PNG of the same size, or with what the options ask for."""
    service = runtime()
    key = request.args.get("model")
    registry = service.registry
    spec = registry.get(key, "depth") if key else service.operations.current_depth_model()
    photo, name = uploaded_image()
    # If an option is given both in the query and in the form, the form's value wins.
    options = DepthOptions.parse(request.args.to_dict() | request.form.to_dict())
    result = service.depth.run(photo, spec, options, disconnect_check())
    record_result(spec, result)
    response = Response(result.file, mimetype=KINDS[options.format].mimetype)
    response.headers["Content-Disposition"] = attachment(name, options)
    response.headers[headers.MODEL_USED] = spec.key
    response.headers[headers.MODEL_WEIGHTS] = result.weights
    response.headers.update(headers.depth_values(result))
    return response


def attachment(upload_name: str, options: DepthOptions) -> str:
    """The Content-Disposition of an answer.

    The file name is ``depth_<name of the upload without its last suffix>.png``, or has the suffix
    of the chosen format. A stereo pair is named ``<name>_sbs.png``, because players recognise a
    side-by-side pair by that ending.
    """
    stem = file_names.stem(upload_name)
    stem = f"{stem}_sbs" if options.is_pair else f"depth_{stem}"
    return file_names.attachment(f"{stem}{KINDS[options.format].suffix}")
