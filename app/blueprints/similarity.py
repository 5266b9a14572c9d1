# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The route that compares texts and images with each other."""

from __future__ import annotations

from flask import Blueprint
from flask.typing import ResponseReturnValue

from app.blueprints import mixed, vectors
from app.blueprints.exchange import parse_json
from app.blueprints.shapes import Either, SimilarityRequest
from app.errors import BadRequest
from app.tasks import zero_shot

blueprint = Blueprint("similarity", __name__)


@blueprint.post("/similarity")
def similarity() -> ResponseReturnValue:
    """Answer with the cosine of each input with each of the others."""
    vectors.require_json()
    wanted = parse_json(SimilarityRequest)
    spec = vectors.requested_model(wanted.model)
    count = len(wanted.inputs)

    def place(index: int) -> str:
        return f"inputs[{index}]" if index < count else f"others[{index - count}]"

    given = [*wanted.inputs, *(wanted.others or ())]
    vectors.check_count(len(given))
    items = [_item(each, place(index)) for index, each in enumerate(given)]
    given.clear()
    wanted.inputs.clear()
    found = mixed.embed(items, spec, place)
    ones, others = found.vectors[:count], found.vectors[count:]
    table = zero_shot.cosines(ones, others or ones)
    body = {"model": spec.key, "similarities": list(table)}
    return vectors.answer_with_weights(body, found.weights)


def _item(each: Either, place: str) -> mixed.Item:
    keys = (each.text, each.image_url, each.image_base64)
    if sum(key is not None for key in keys) != 1:
        raise BadRequest(f"{place}: give exactly one of text, image_url and image_base64")
    return each if each.text is None else each.text
