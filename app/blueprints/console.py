# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The console: a page for people who try the service out. Static files, and nothing to build."""

from __future__ import annotations

import json
from functools import cache
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
_PALETTES = "palettes.json"
# By suffix, since the machine's own table of types may say something else.
_KINDS = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".jpg": "image/jpeg",
}
_HEADERS = {
    # Scripts and styles are files of ours; blob: are the pictures that the user chose and got.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # Kept, but asked for again each time: after an update nobody runs half of the old page.
    "Cache-Control": "no-cache",
}


@blueprint.get("/ui")
@blueprint.get("/ui/")
def page() -> BaseResponse:
    """The page; ``GET /`` answers it, too, where a browser asks."""
    if request.path == "/ui/":  # below which the page's relative addresses would lead nowhere
        return redirect("../ui", 308)
    return _file(_PAGE)


@blueprint.get("/ui/<name>")
def asset(name: str) -> ResponseReturnValue:
    """What the page needs."""
    return _file(name)


def is_wanted(accept: MIMEAccept) -> bool:
    """Whether ``text/html`` is named and preferred to JSON, as only browsers do.

    ``*/*``, or no Accept header at all, is what programs send: they get JSON.
    """
    named = max((quality for kind, quality in accept if kind.lower() == "text/html"), default=0)
    return named > accept.quality("application/json")


def _file(name: str) -> Response:
    if name not in _names():
        raise NotFound("There is no such file; the console is at /ui")
    response = Response(_content(name), mimetype=_KINDS[Path(name).suffix])
    response.headers.update(_HEADERS)
    response.add_etag()
    response.make_conditional(request)
    return response


@cache
def _names() -> frozenset[str]:
    """All there is: a name of a request is looked up here and never becomes a path itself."""
    files = {file.name for file in _FOLDER.iterdir() if file.suffix in _KINDS}
    return frozenset(files | {_PALETTES})


@cache
def _content(name: str) -> bytes:
    return _palettes() if name == _PALETTES else (_FOLDER / name).read_bytes()


def _palettes() -> bytes:
    """Each colour map as 256 RGB colours in hex, far to near: what ``colormap=`` paints with."""
    levels = np.arange(256, dtype=np.uint8)
    tables = {
        name: maps.shown(levels, DepthOptions(colormap=name)).tobytes().hex()
        for name in get_args(Colormap)
        if name != "gray"
    }
    return json.dumps(tables).encode()
