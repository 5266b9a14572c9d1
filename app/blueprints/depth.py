# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The depth service's routes, as ImmichVR calls them."""

from __future__ import annotations

import re
from pathlib import PurePath
from urllib.parse import quote

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue

from app.blueprints.exchange import client_is_gone, note, runtime, uploaded_image

blueprint = Blueprint("depth", __name__)


@blueprint.post("/api/depth")
def depth() -> ResponseReturnValue:
    """Photo in, greyscale PNG of the same size out."""
    service = runtime()
    key = request.args.get("model")
    registry = service.registry
    spec = registry.get(key, "depth") if key else service.operations.current_depth_model()
    photo, name = uploaded_image()
    result = service.pipeline.depth(photo, spec, client_is_gone())
    note(spec, result)
    response = Response(result.png, mimetype="image/png")
    response.headers["Content-Disposition"] = attachment(name)
    response.headers["X-Model-Used"] = spec.key
    response.headers["X-Model-Weights"] = result.weights
    return response


def attachment(upload_name: str) -> str:
    """The Content-Disposition of a map (RFC 6266): ``depth_<name without its last suffix>.png``."""
    # A browser sends a bare name, but some clients send a path, also a Windows one.
    base = re.split(r"[\\/]", upload_name)[-1]
    stem = re.sub(r"[\x00-\x1f\x7f]", "", PurePath(base).stem)[:200]
    name = f"depth_{stem}.png"
    plain = re.sub(r'[^\x20-\x7e]|["\\?]', "_", name)
    value = f'attachment; filename="{plain}"'
    return value if plain == name else f"{value}; filename*=UTF-8''{quote(name, safe='')}"
