# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The OpenAPI document and a page that shows it; the page works without internet access."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from flask import Blueprint, Response, jsonify
from flask.typing import ResponseReturnValue

from app.blueprints.examples import Models
from app.blueprints.exchange import runtime
from app.blueprints.openapi import document as openapi_document
from app.blueprints.openapi_parts import TAGS_OF
from app.errors import NotFound
from config.families import TASKS

blueprint = Blueprint("docs", __name__)

_ASSETS = {
    "swagger-ui.css": ("css/swagger-ui.css", "text/css"),
    "swagger-ui.js": ("js/swagger-ui-bundle.js", "text/javascript"),
}
_FOLDER = Path(__file__).parents[1] / "console"
# What "Try it out" sends where a route takes a file, until another is chosen.
_EXAMPLES = {"example.jpg": "image/jpeg", "example.mp4": "video/mp4"}
_START = (_FOLDER / "docs.js").read_text()
# Addresses are relative: the page also works where a proxy puts the service below a path.
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Twinlens API</title>
<link rel="icon" href="ui/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="ui"></div>
<script src="docs/swagger-ui.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
# Swagger UI needs inline styles and pictures from data: URIs.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'"
)


@blueprint.get("/openapi.json")
def document() -> ResponseReturnValue:
    """Answer with the OpenAPI 3.1 document of this service: its default models, and its key."""
    service = runtime()
    settings = service.settings
    open_tags: Sequence[str] | None = None
    if settings.service_api_key is not None:
        scope = settings.service_api_key_for
        others = [task for task in TASKS if scope not in ("all", task)]
        open_tags = [tag for task in others for tag in TAGS_OF[task]]
    return jsonify(openapi_document(Models.of(service.registry.defaults), open_tags))


@blueprint.get("/docs")
def page() -> ResponseReturnValue:
    """Answer with the page on which Swagger UI shows the OpenAPI document."""
    response = Response(_PAGE, mimetype="text/html")
    response.headers["Content-Security-Policy"] = _POLICY
    return response


@blueprint.get("/docs/<name>")
def asset(name: str) -> ResponseReturnValue:
    """Answer with a script or style of the page, read from the installed Swagger UI package."""
    if name == "start.js":
        return Response(_START, mimetype="text/javascript")
    if name in _EXAMPLES:
        return Response((_FOLDER / name).read_bytes(), mimetype=_EXAMPLES[name])
    if name not in _ASSETS:
        raise NotFound("There is no such file; the documentation is at /docs")
    path, kind = _ASSETS[name]
    content = files("flask_openapi3_swagger").joinpath("templates", "swagger", path).read_bytes()
    response = Response(content, mimetype=kind)
    response.headers["Cache-Control"] = "public, max-age=86400"
    return response
