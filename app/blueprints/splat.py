# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The routes for 3D scenes of photos, with the addresses that ImmichVR uses."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify
from flask.typing import ResponseReturnValue

from app.blueprints import file_names, headers, sharp
from app.blueprints.exchange import (
    cancellation_check,
    disconnect_check,
    options_given,
    record_result,
    runtime,
    uploaded_image,
)
from app.errors import OperationFailed
from app.rendering.scene_options import SceneOptions
from app.rendering.scenes import KINDS

blueprint = Blueprint("splat", __name__)


@blueprint.post("/api/splat")
def splat() -> ResponseReturnValue:
    """Answer a photo with a PLY of 3D Gaussians, or with what the options ask for."""
    service = runtime()
    photo, name = uploaded_image()
    given = options_given()
    key = given.pop("model", "")
    spec = sharp.model(key, "depth") if key else service.operations.current_depth_model()
    options = SceneOptions.parse(given)
    result = service.splat.run(photo, spec, options, disconnect_check())
    record_result(spec, result)
    kind = KINDS[options.format]
    response = Response(result.file, mimetype=kind.mimetype)
    file_name = f"splat_{file_names.stem(name)}{kind.suffix}"
    response.headers["Content-Disposition"] = file_names.attachment(file_name)
    response.headers[headers.MODEL_USED] = spec.key
    response.headers[headers.MODEL_WEIGHTS] = result.weights
    response.headers[headers.FILE_SIZE] = str(len(result.file))
    response.headers.update(headers.scene_values(result))
    return response


@blueprint.get("/api/splat/status")
def status() -> ResponseReturnValue:
    """Tell whether the model that makes the splats is on disk."""
    found = runtime().reports.status(sharp.model(sharp.KEY))
    return jsonify(
        model_key=sharp.KEY,
        model_name=sharp.title(found.spec),
        is_downloaded=found.on_disk,
        is_loaded=found.state == "loaded",
        state=found.state,
        depth_model=found.spec.key,
    )


@blueprint.post("/api/splat/download")
def download() -> ResponseReturnValue:
    """Download the model that makes the splats; answers when the download is complete."""
    service = runtime()
    spec = sharp.model(sharp.KEY)
    if service.manager.on_disk(spec):
        return jsonify(status="already_downloaded", message=f"{spec.title} is on disk already")
    try:
        service.operations.download(spec, cancellation_check())
    except OperationFailed as error:
        return jsonify({"status": "failed"} | error.body()), error.status
    return jsonify(status="success", message=f"{spec.title} is on disk")
