# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The shapes of bodies and answers of /similarity, /classify and Cohere's /v2/embed."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.blueprints.schemas import MAX_BATCH, ImageSource, Key, Text

_MODEL = "key of an embedding model; default DEFAULT_MODEL"

#: The most templates of one request.
MAX_TEMPLATES = 100


class Either(ImageSource):
    """A text or an image: exactly one of the three keys."""

    model_config = ConfigDict(extra="forbid")

    text: Text | None = Field(None, description="a text")


class SimilarityRequest(BaseModel):
    """JSON body of POST /similarity."""

    model_config = ConfigDict(extra="forbid")

    inputs: list[Either] = Field(
        min_length=1, max_length=MAX_BATCH, fail_fast=True, description="texts and images"
    )
    others: list[Either] | None = Field(
        None,
        min_length=1,
        max_length=MAX_BATCH,
        fail_fast=True,
        description="texts and images to compare them with; default: the inputs themselves",
    )
    model: Key | None = Field(None, description=_MODEL)


class ClassifyRequest(ImageSource):
    """JSON body of POST /classify."""

    model_config = ConfigDict(extra="forbid")

    labels: list[Text] = Field(
        min_length=1, max_length=MAX_BATCH, fail_fast=True, description="what it may be, in words"
    )
    templates: list[Text] | None = Field(
        None,
        min_length=1,
        max_length=MAX_TEMPLATES,
        fail_fast=True,
        description="texts with `{}` in the place of the label, such as `a photo of a {}`; the "
        "mean of their vectors counts; default: the label alone",
    )
    model: Key | None = Field(None, description=_MODEL)


class CohereUrl(BaseModel):
    """An image of a part."""

    url: Text = Field(
        description="a data: URI, or, where the operator allows it, an http or https address"
    )


class CoherePart(BaseModel):
    """One part of an input: ``text`` or ``image_url``, as ``type`` says."""

    type: Literal["text", "image_url"]
    text: Text | None = None
    image_url: CohereUrl | None = None


class CohereInput(BaseModel):
    """One input, which becomes one vector; a model of two networks reads one part."""

    content: list[CoherePart] = Field(min_length=1, max_length=16, fail_fast=True)


EmbeddingType = Literal["float", "int8", "uint8", "binary", "ubinary", "base64"]


class CohereRequest(BaseModel):
    """JSON body of POST /v2/embed: exactly one of ``texts``, ``images`` and ``inputs``."""

    # Cohere's further keys, such as ``priority``, do not change the vectors.
    model_config = ConfigDict(extra="ignore")

    model: Key | None = Field(None, description=_MODEL)
    texts: list[Text] | None = Field(None, min_length=1, max_length=MAX_BATCH, fail_fast=True)
    images: list[Text] | None = Field(
        None,
        min_length=1,
        max_length=MAX_BATCH,
        fail_fast=True,
        description="data: URIs, base64, or, where the operator allows it, addresses",
    )
    inputs: list[CohereInput] | None = Field(
        None, min_length=1, max_length=MAX_BATCH, fail_fast=True
    )
    input_type: (
        Literal["search_document", "search_query", "classification", "clustering", "image"] | None
    ) = Field(None, description="has no effect: these models have one kind of vector")
    embedding_types: list[EmbeddingType] | None = Field(
        None, min_length=1, max_length=6, description="default: `float`"
    )
    output_dimension: int | None = Field(
        None, description="only the model's own number is accepted"
    )
    max_tokens: int | None = Field(None, description="is not supported")
    truncate: Literal["NONE", "START", "END"] | None = Field(
        None, description="`NONE`: a text that is too long is an error; `START` is not supported"
    )


class Similarities(BaseModel):
    """The answer of POST /similarity."""

    model: str
    #: for each input a list with its cosine with each of the others
    similarities: list[list[float]]
    weights: str | None = None


class LabelResult(BaseModel):
    """One label of POST /classify."""

    label: str
    probability: float
    #: cosine of the image and the label
    similarity: float


class Classification(BaseModel):
    """The answer of POST /classify; ``results`` are in the order of the labels."""

    model: str
    best: str
    function: Literal["softmax", "sigmoid"]
    logit_scale: float
    logit_bias: float | None
    results: list[LabelResult]
    weights: str | None = None


class CohereMeta(BaseModel):
    """What was read."""

    api_version: dict[str, str]
    billed_units: dict[str, int]


class CohereEmbeddings(BaseModel):
    """The answer of POST /v2/embed: for each type that was asked for, the vectors in order."""

    id: str
    response_type: Literal["embeddings_by_type"]
    embeddings: dict[EmbeddingType, list[Any]]
    texts: list[str] = Field(description="the request's `texts`")
    meta: CohereMeta
