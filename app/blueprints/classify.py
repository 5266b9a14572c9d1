# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The route that says which of several labels fits an image."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any, BinaryIO

from flask import Blueprint, current_app, request
from flask.typing import ResponseReturnValue
from pydantic import ValidationError

from app.blueprints import mixed, vectors
from app.blueprints.exchange import parse_json, runtime, uploaded_image, wrong_shape
from app.blueprints.schemas import ImageSource, Text
from app.blueprints.shapes import ClassifyRequest
from app.engines.base import LoadError
from app.errors import BadRequest, TwinlensError
from app.lending.entry import not_available
from app.models.embedding_family import EmbeddingFamily
from app.models.logits import Logits
from app.tasks import zero_shot
from config.models import ModelSpec

blueprint = Blueprint("classify", __name__)

_FORM = ", or a file 'image' as multipart/form-data"
_LISTS = ("labels", "templates")


@blueprint.post("/classify")
def classify() -> ResponseReturnValue:
    """Answer with the probability of each label, as the checkpoint was trained to give them."""
    is_form = request.mimetype == "multipart/form-data"
    image, wanted = _multipart() if is_form else _json()
    spec = vectors.requested_model(wanted.model)
    labels = _texts(wanted.labels, "labels")
    templates = _texts(wanted.templates or ["{}"], "templates")
    for index, template in enumerate(templates):
        if "{}" not in template:
            raise BadRequest(f"templates[{index}]: it has no {{}} in the place of the label")
    count = len(templates)
    vectors.check_count(len(labels) * count)

    def place(index: int) -> str:
        if index == 0:
            return "image"
        which, template = divmod(index - 1, count)
        return f"labels[{which}]" + (f" in templates[{template}]" if count > 1 else "")

    filled = _filled(labels, templates, place)
    (source,) = vectors.open_images([image], spec)
    if isinstance(source, TwinlensError):
        raise source
    found = mixed.embed([source, *filled], spec, place)
    logits = _logits(spec)
    rows = zero_shot.label_vectors(found.vectors[1:], count)
    (cosines,) = zero_shot.cosines(found.vectors[:1], rows)
    chances = zero_shot.probabilities(cosines, logits)
    body: dict[str, Any] = {
        "model": spec.key,
        "best": labels[int(chances.argmax())],
        "function": "softmax" if logits.bias is None else "sigmoid",
        "logit_scale": logits.scale,
        "logit_bias": logits.bias,
        "results": [
            {"label": label, "probability": float(chance), "similarity": float(cosine)}
            for label, chance, cosine in zip(labels, chances, cosines, strict=True)
        ],
    }
    return vectors.answer_with_weights(body, found.weights)


def _json() -> tuple[ImageSource, ClassifyRequest]:
    vectors.require_json(_FORM)
    wanted = parse_json(ClassifyRequest)
    return wanted, wanted


def _multipart() -> tuple[BinaryIO, ClassifyRequest]:
    """A form: ``labels`` and ``templates`` are one field for each text; an empty one is none."""
    # Labels times templates are at most this setting, so they are at most one part more.
    most = runtime().settings.embed_batch_api_max_items
    request.max_form_parts = current_app.config["MAX_FORM_PARTS"] + most
    image, _ = uploaded_image()
    fields: dict[str, Any] = {name: value for name, value in request.form.items() if value}
    for name in _LISTS:
        if texts := [text for text in request.form.getlist(name) if text]:
            fields[name] = texts
    for name in ("image_url", "image_base64"):
        if name in fields:
            raise BadRequest(f"Give exactly one of image and {name}")
    try:
        return image, ClassifyRequest.model_validate(fields)
    except ValidationError as error:
        raise wrong_shape(error) from None


def _texts(given: list[Text], name: str) -> list[str]:
    """The texts of a list. Raises the error of the first bad one, with its place."""
    checked = vectors.check_texts(given)
    for index, each in enumerate(checked):
        if isinstance(each, TwinlensError):
            each.message = f"{name}[{index}]: {each.message}"
            raise each
        if not each.strip():
            raise BadRequest(f"{name}[{index}]: the text is blank")
    return [each for each in checked if isinstance(each, str)]


def _filled(labels: list[str], templates: list[str], place: Callable[[int], str]) -> list[str]:
    """Each label in each template. Raises TooLarge before a text is made that is too long.

    A template may name its label thousands of times, so the texts could fill the memory.
    """
    filled: list[str] = []
    for index, (label, template) in enumerate(product(labels, templates), 1):
        length = len(template) + template.count("{}") * (len(label) - len("{}"))
        if error := vectors.too_long(length):
            error.message = f"{place(index)}: {error.message}"
            raise error
        filled.append(template.replace("{}", label))
    return filled


def _logits(spec: ModelSpec) -> Logits:
    """How the model's cosines become probabilities. Raises BadRequest or NotAvailable."""
    family = runtime().manager.family(spec)
    if family is None:
        raise not_available(spec, LoadError("its files are not on disk, or cannot be read"))
    try:
        found = family.logits() if isinstance(family, EmbeddingFamily) else None
    except LoadError as error:
        raise not_available(spec, error) from None
    if found is None:
        raise BadRequest(
            f"The checkpoint of {spec.key} has no logit_scale, so there are no probabilities; "
            "use POST /similarity, which answers with the cosines"
        )
    return found
