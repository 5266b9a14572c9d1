# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The routes for 3D scenes of photos, with the addresses that ImmichVR uses."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify
from flask.typing import ResponseReturnValue

from app.blueprints import file_names, headers, managed
from app.blueprints.exchange import (
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
    spec = managed.of_splats(given.pop("model", ""))
    options = SceneOptions.parse(given)
    if spec.is_sharp:
        assert service.sharp is not None
        result = service.sharp.run(photo, options, disconnect_check())
    else:
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
    model = managed.find(managed.SHARP)
    described = model.describe()
    answer = {name: described[name] for name in ("is_downloaded", "is_loaded", "state")}
    if not model.spec.is_sharp:
        answer["depth_model"] = model.spec.key
    if model.status.reason is not None:
        answer["reason"] = model.status.reason
    return jsonify(model_key=managed.SHARP, model_name=described["description"], **answer)


@blueprint.post("/api/splat/download")
def download() -> ResponseReturnValue:
    """Download the model that makes the splats; answers when the download is complete."""
    model = managed.find(managed.SHARP)
    if model.status.on_disk:
        message = f"{model.spec.title} is on disk already"
        return jsonify(status="already_downloaded", message=message)
    try:
        return jsonify(status="success", message=model.download())
    except OperationFailed as error:
        return jsonify({"status": "failed"} | error.body()), error.status
