# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The console: a web page for trying out the service. Its static files need no build step."""

from __future__ import annotations

import gzip
import json
import re
from base64 import b64encode
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import get_args

import numpy as np
from flask import Blueprint, Response, redirect, request
from flask.typing import ResponseReturnValue
from werkzeug.datastructures import MIMEAccept
from werkzeug.wrappers import Response as BaseResponse

from app.errors import NotFound
from app.rendering import maps
from app.rendering.options import Colormap, DepthOptions

blueprint = Blueprint("console", __name__)

_FOLDER = Path(__file__).parents[1] / "console"
_PAGE = "index.html"
_SCENE = "scene.html"
_PALETTES = "palettes.json"
# Content types are fixed here, because those of the ``mimetypes`` module depend on the machine.
_KINDS = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".jpg": "image/jpeg",
}
_HEADERS = {
    # Scripts and styles come only from this service; blob: is for pictures and films, sent or made.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob:; media-src 'self' blob:; connect-src 'self'; frame-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # Browsers revalidate each file, so that old and new files never mix after an update.
    "Cache-Control": "no-cache",
}
# The page that draws splats and meshes, in a frame of the console. Its renderer compiles
# WebAssembly and starts workers from blob: URLs. The page asks the service for nothing but scripts.
_SCENE_POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval' '{import_map}'; worker-src blob:; "
    "style-src 'self'; img-src blob:; connect-src blob:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'"
)
_IMPORT_MAP = re.compile(rb'<script type="importmap">(.*?)</script>', re.DOTALL)


@blueprint.get("/ui")
@blueprint.get("/ui/")
def page() -> BaseResponse:
    """Answer with the console's page, which browsers also get from ``GET /``."""
    if request.path == "/ui/":  # the page's relative links would not resolve below /ui/
        return redirect("../ui", 308)
    return _file(_PAGE)


@blueprint.get("/ui/<path:name>")
def asset(name: str) -> ResponseReturnValue:
    """Answer with a script, style or picture of the console's page."""
    return _file(name)


def is_wanted(accept: MIMEAccept) -> bool:
    """Whether the client is a browser: it names ``text/html`` in Accept and prefers it to JSON.

    Programs send ``*/*`` or no Accept header, and get JSON.
    """
    named = max((quality for kind, quality in accept if kind.lower() == "text/html"), default=0)
    return named > accept.quality("application/json")


def _file(name: str) -> Response:
    if name not in _names():
        raise NotFound("There is no such file; the console is at /ui")
    kind = _KINDS[Path(name).suffix]
    is_compressible = kind != "image/jpeg"
    is_compressed = is_compressible and request.accept_encodings.quality("gzip") > 0
    content = _compressed(name) if is_compressed else _content(name)
    response = Response(content, mimetype=kind)
    response.headers.update(_HEADERS)
    if name == _SCENE:
        response.headers["Content-Security-Policy"] = _scene_policy()
    if is_compressed:
        response.headers["Content-Encoding"] = "gzip"
    if is_compressible:
        response.vary.add("Accept-Encoding")
    response.add_etag()
    response.make_conditional(request)
    return response


@cache
def _names() -> frozenset[str]:
    """The names of all files that may be requested, relative to the folder.

    A requested name is looked up here first, so that no other file can be read through it.
    """
    files = (file.relative_to(_FOLDER) for file in _FOLDER.rglob("*") if file.suffix in _KINDS)
    return frozenset({file.as_posix() for file in files} | {_PALETTES})


def _content(name: str) -> bytes:
    return _palettes() if name == _PALETTES else (_FOLDER / name).read_bytes()


@cache
def _compressed(name: str) -> bytes:
    """The file as gzip; only this is kept in memory, because almost all browsers ask for it."""
    return gzip.compress(_content(name), mtime=0)


@cache
def _scene_policy() -> str:
    """The policy of the scene's page, with the hash of the one script that stands in the page.

    Browsers read an import map only where it is written into the page.
    """
    (import_map,) = _IMPORT_MAP.findall(_content(_SCENE))
    digest = b64encode(sha256(import_map).digest()).decode()
    return _SCENE_POLICY.format(import_map=f"sha256-{digest}")


@cache
def _palettes() -> bytes:
    """JSON with the 256 RGB colours of each ``colormap=``, in hex and ordered from far to near."""
    levels = np.arange(256, dtype=np.uint8)
    tables = {
        name: maps.shown(levels, DepthOptions(colormap=name)).tobytes().hex()
        for name in get_args(Colormap)
        if name != "gray"
    }
    return json.dumps(tables).encode()
