# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The route that embeds texts into the space of the image vectors, so words can search images."""

from __future__ import annotations

from flask import Blueprint
from flask.typing import ResponseReturnValue

from app.blueprints import vectors
from app.blueprints.exchange import parse_json
from app.blueprints.schemas import EmbedTextRequest
from app.errors import BadRequest, TwinlensError

blueprint = Blueprint("text", __name__)


@blueprint.post("/embed-text")
def embed_text() -> ResponseReturnValue:
    """Answer one text or several with vectors; a text that fails does not fail the others."""
    vectors.require_json()
    wanted = parse_json(EmbedTextRequest)
    if (wanted.text is None) == (wanted.texts is None):
        raise BadRequest("Give exactly one of text and texts")
    texts = [wanted.text] if wanted.text is not None else wanted.texts or []
    vectors.check_count(len(texts))
    spec = vectors.requested_model(wanted.model)
    result = vectors.embed_texts(vectors.check_texts(texts), spec, normalize=wanted.normalize)
    details = [
        {"tokens": each.count, "truncated": each.truncated} if each else {}
        for each in result.tokens
    ]
    if wanted.texts is not None:
        body = vectors.batch_body(
            {"model": spec.key}, result.vectors, details, encoding=wanted.encoding_format
        )
        return vectors.answer_with_weights(body, result.weights)
    vector = result.vectors[0]
    if isinstance(vector, TwinlensError):
        raise vector
    body = {
        "embedding": vectors.encoded(vector, wanted.encoding_format),
        "dims": vector.size,
        "provider": "local",
        "model": spec.key,
        **details[0],
    }
    return vectors.answer_with_weights(body, result.weights)
