# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The machine learning routes of Immich: its smart search is answered, the rest is passed on.

Immich's server sends a form: ``entries`` (JSON) says what to do, with ``image`` or ``text``. See
docs/recipes/immich.md.
"""

from __future__ import annotations

import json
from typing import Any, BinaryIO, cast

import orjson
from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue

from app.blueprints import vectors
from app.blueprints.exchange import (
    cancellation_check,
    disconnect_check,
    record_result,
    runtime,
)
from app.engines.base import FloatArray
from app.errors import BadRequest, RemoteFailed, TwinlensError, WrongShape
from app.remote.passing_on import MARK, Answer, Form, PassingOn
from app.server.bodies import BODY
from config import immich
from config.models import ModelSpec

blueprint = Blueprint("immich", __name__)

_SEARCH, _IMAGES, _TEXTS = "clip", "visual", "textual"
#: what Immich's own service does beside search
_OTHERS = ("facial-recognition", "ocr")
_SETTING = "IMMICH_ML_URL"

#: for each task the entry of each type: ``modelName``, and perhaps ``options``
Entries = dict[str, dict[str, dict[str, Any]]]


class NotSetUp(TwinlensError):
    """Status 501: the request has to be passed on, but there is nobody to pass it on to."""

    status = 501
    title = "Not set up"
    code = "not_set_up"


@blueprint.get("/ping")
def ping() -> ResponseReturnValue:
    """Tell Immich that this service is there."""
    return Response("pong", mimetype="text/plain")


@blueprint.post("/predict")
def predict() -> ResponseReturnValue:
    """Answer what is asked for a picture or a text, here or by IMMICH_ML_URL."""
    entries = _entries(request.form.get("entries"))
    upload = request.files.get("image")
    text = request.form.get("text")
    if upload is None and text is None:
        raise BadRequest("Either image or text must be provided", title="No image provided")
    image = None if upload is None else cast(BinaryIO, upload.stream)
    models = _models(entries)
    ours = entries.pop(_SEARCH) if models else {}
    passing = _passing_on(entries) if entries else None
    source = _opened(image, text, models)
    passed = None
    if passing is not None:
        # This comes first, because the picture's file is closed once it is embedded.
        fields = {"entries": json.dumps(entries)}
        if image is None and text is not None:
            fields["text"] = text
        form = Form(fields, None if image is None else ("image", "image", image))
        passed = passing.post(
            "/predict", form, check_cancelled=cancellation_check(), hold=request.environ[BODY].hold
        )
        if not ours:
            return Response(passed.body, content_type=passed.kind)
    answer: dict[str, object] = {}
    for kind, entry in ours.items():
        embed = _image if kind == _IMAGES else _text
        answer |= embed(source, models[kind], entry)
    if passed is not None:
        # The places of faces and letters refer to the size in the answer of the other server.
        answer |= _object(passed)
    return Response(orjson.dumps(answer), mimetype="application/json")


def _entries(given: str | None) -> Entries:
    """The entries of the form. Raises WrongShape."""
    try:
        entries = orjson.loads(given or "")
        for task, types in entries.items():
            for kind, entry in types.items():
                if not isinstance(entry["modelName"], str):
                    raise TypeError
                if not isinstance(entry.get("options") or {}, dict):
                    raise TypeError
                if task == _SEARCH and kind not in (_IMAGES, _TEXTS):
                    raise WrongShape(
                        f"Invalid request format. {_SEARCH} has the types {_IMAGES} and {_TEXTS}, "
                        f"and not {kind[:100]!r}"
                    )
        if not entries or not all(entries.values()):
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError):
        raise WrongShape(
            "Invalid request format. `entries` is JSON such as "
            '{"clip": {"visual": {"modelName": "ViT-B-32__openai"}}}'
        ) from None
    return cast(Entries, entries)


def _models(entries: Entries) -> dict[str, ModelSpec]:
    """The models of the search entries by type; none if those have to be passed on.

    Raises:
        BadRequest: a model is not in the table, and there is nobody to pass it on to.
    """
    found: dict[str, ModelSpec] = {}
    for kind, entry in entries.get(_SEARCH, {}).items():
        spec = _row(entry["modelName"])
        if spec is None:
            if runtime().settings.immich_ml_url:
                return {}
            raise _unknown(entry["modelName"])
        found[kind] = spec
    return found


def _row(name: str) -> ModelSpec | None:
    """The row of the table for a name of Immich: the key itself, or a row with its weights."""
    service = runtime()
    plain = immich.plain_name(name)
    specs = service.registry.specs("embedding")
    wanted = immich.repositories(name)
    rows = [spec for spec in specs if spec.key.lower() == plain.lower()]
    rows.sort(key=lambda spec: spec.key != plain)
    rows += sorted(
        (spec for spec in specs if spec.hub_id in wanted),
        key=lambda spec: wanted.index(spec.hub_id or ""),
    )
    on_disk = (spec for spec in rows if service.manager.on_disk(spec))
    return next(on_disk, rows[0] if rows else None)


def _unknown(name: str) -> BadRequest:
    plain = immich.plain_name(name)[:64]
    known = immich.repositories(name)
    if known:
        help = (
            f"add it with `python -m app models add {plain} {known[0]}` or POST /api/models, "
            f"or set {_SETTING} to pass it on"
        )
    else:
        help = f"set {_SETTING} to pass it on to immich-machine-learning"
    return BadRequest(f"{plain!r} is not in the table of models; {help}", title="Unknown model")


def _opened(
    image: BinaryIO | None, text: str | None, models: dict[str, ModelSpec]
) -> BinaryIO | str | None:
    """The picture or the text to embed; None if there is nothing to embed. Raises TwinlensError."""
    if _IMAGES in models and image is None:
        raise BadRequest(f"{_SEARCH}.{_IMAGES} needs `image`, a file", title="No image provided")
    if _TEXTS in models and (text is None or image is not None):
        raise BadRequest(f"{_SEARCH}.{_TEXTS} needs `text`, and no image", title="No text provided")
    if image is None or _IMAGES not in models:
        return text
    (source,) = vectors.open_images([image], models[_IMAGES])
    if isinstance(source, TwinlensError):
        raise source
    return source


def _image(source: Any, spec: ModelSpec, _: dict[str, Any]) -> dict[str, object]:
    found = vectors.embed_images([source], spec)
    answer = _vector(found.vectors[0])
    if (size := found.sizes[0]) is not None:
        answer |= {"imageHeight": size[1], "imageWidth": size[0]}
    return answer


def _text(source: Any, spec: ModelSpec, entry: dict[str, Any]) -> dict[str, object]:
    language = (entry.get("options") or {}).get("language")
    code = immich.flores(language) if isinstance(language, str) else None
    found = runtime().embedding.texts(
        [source], spec, normalize=True, language=code, is_gone=disconnect_check()
    )
    record_result(spec, found)
    return _vector(found.vectors[0])


def _vector(found: FloatArray | TwinlensError) -> dict[str, object]:
    """The vector as Immich stores it: the text of a JSON list."""
    if isinstance(found, TwinlensError):
        raise found
    return {_SEARCH: orjson.dumps(found, option=orjson.OPT_SERIALIZE_NUMPY).decode()}


def _passing_on(entries: Entries) -> PassingOn:
    """Where to pass the entries on to. Raises NotSetUp, BadRequest."""
    settings = runtime().settings
    if settings.immich_ml_url is None:
        unknown = sorted(entries.keys() - {*_OTHERS})
        wanted = " and ".join(unknown or sorted(entries))[:100]
        passed_on = (
            f"{' and '.join(_OTHERS)} are passed on if {_SETTING} is set to the address of an "
            "immich-machine-learning"
        )
        if unknown:
            raise BadRequest(
                f"Unknown task {wanted!r}; known: {_SEARCH}, which is answered here; {passed_on}",
                title="Invalid option",
            )
        raise NotSetUp(f"Twinlens does not do {wanted}, only {_SEARCH}; {passed_on}")
    if MARK in request.headers:
        raise BadRequest(f"{_SETTING} leads back to this service; set it to another server")
    seconds = settings.inference_timeout_seconds
    return PassingOn(settings.immich_ml_url, _SETTING, seconds, "INFERENCE_TIMEOUT_SECONDS")


def _object(passed: Answer) -> dict[str, object]:
    try:
        found = orjson.loads(passed.body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise RemoteFailed(
            f"The server at {_SETTING} did not answer with a JSON object", title="Passing on failed"
        )
    return found
