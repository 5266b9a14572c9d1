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
from app.rendering.formats import KINDS
from app.rendering.options import DepthOptions

blueprint = Blueprint("depth", __name__)


@blueprint.post("/api/depth")
def depth() -> ResponseReturnValue:
    """Photo in, greyscale PNG of the same size out, or what the options ask for."""
    service = runtime()
    key = request.args.get("model")
    registry = service.registry
    spec = registry.get(key, "depth") if key else service.operations.current_depth_model()
    photo, name = uploaded_image()
    # Of an option that stands in both, the form's value counts: it comes with the photo.
    options = DepthOptions.parse(request.args.to_dict() | request.form.to_dict())
    result = service.depth.run(photo, spec, options, client_is_gone())
    note(spec, result)
    response = Response(result.file, mimetype=KINDS[options.format].mimetype)
    response.headers["Content-Disposition"] = attachment(name, options)
    response.headers["X-Model-Used"] = spec.key
    response.headers["X-Model-Weights"] = result.weights
    response.headers["X-Depth-Min"] = f"{result.low:.9g}"  # as many digits as float32 has
    response.headers["X-Depth-Max"] = f"{result.high:.9g}"
    return response


def attachment(upload_name: str, options: DepthOptions) -> str:
    """The Content-Disposition of an answer (RFC 6266).

    ``depth_<name without its last suffix>.png``, or the suffix of another format; a stereo pair is
    ``<name>_sbs.png``, by which players know what it is.
    """
    # A browser sends a bare name, but some clients send a path, also a Windows one.
    base = re.split(r"[\\/]", upload_name)[-1]
    stem = re.sub(r"[\x00-\x1f\x7f]", "", PurePath(base).stem)[:200]
    stem = f"{stem}_sbs" if options.is_pair else f"depth_{stem}"
    name = f"{stem}{KINDS[options.format].suffix}"
    plain = re.sub(r'[^\x20-\x7e]|["\\?]', "_", name)
    value = f'attachment; filename="{plain}"'
    return value if plain == name else f"{value}; filename*=UTF-8''{quote(name, safe='')}"
