# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The shapes of JSON bodies: pydantic models that check requests."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from app.errors import BadRequest

# No setting allows more items in a batch.
MAX_BATCH = 1024


def _no_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("a number is expected")
    return value


class VectorOptions(BaseModel):
    """What is wanted of a vector."""

    # Clients of the replaced service may send keys that we do not know: they are ignored.
    model_config = ConfigDict(extra="ignore")

    model: str | None = Field(None, description="key of an embedding model; default DEFAULT_MODEL")
    normalize: bool = Field(True, description="bring the vector to L2 norm 1")


class EmbedOptions(VectorOptions):
    """How to embed an image; the same names as JSON keys and as form fields."""

    image_size: Annotated[int | None, BeforeValidator(_no_bool)] = Field(
        None,
        ge=1,
        le=4096,
        description="shortest edge, pixels, that the source is resized to before the model's own "
        "preparation; default: the model's native size",
    )


class ImageSource(BaseModel):
    """Where an image comes from: exactly one of the two."""

    model_config = ConfigDict(extra="ignore")

    image_url: str | None = Field(None, description="http or https address of an image")
    image_base64: str | None = Field(
        None,
        description="standard or URL-safe base64, padding optional, white space ignored; "
        "a data: URI is accepted, too",
    )


class EmbedRequest(ImageSource, EmbedOptions):
    """JSON body of POST /embed-image."""


class EmbedBatchRequest(EmbedOptions):
    """JSON body of POST /embed-batch."""

    # The setting EMBED_BATCH_API_MAX_ITEMS is at most this; fail_fast keeps errors few, too.
    items: list[ImageSource] = Field(min_length=1, max_length=MAX_BATCH, fail_fast=True)


class EmbedTextRequest(VectorOptions):
    """JSON body of POST /embed-text: exactly one of the two."""

    text: str | None = Field(None, description="one text; what the model cannot read is cut off")
    texts: list[str] | None = Field(None, min_length=1, max_length=MAX_BATCH, fail_fast=True)


def _as_list(value: object) -> object:
    first = value[0] if isinstance(value, list) and value else None
    if isinstance(first, int | list):
        raise ValueError("arrays of tokens are not accepted, since their numbers mean other words")
    return [value] if isinstance(value, str) else value


class OpenAIRequest(BaseModel):
    """JSON body of POST /v1/embeddings; ``user`` and other keys of OpenAI's are ignored."""

    model_config = ConfigDict(extra="ignore")

    input: Annotated[
        list[str], BeforeValidator(_as_list, json_schema_input_type=str | list[str])
    ] = Field(max_length=MAX_BATCH, fail_fast=True)
    model: str | None = Field(None, description="key of an embedding model; default DEFAULT_MODEL")
    encoding_format: Literal["float", "base64"] = Field(
        "float", description="`base64`: of the float32 numbers, little endian"
    )
    dimensions: Annotated[int | None, BeforeValidator(_no_bool)] = Field(
        None, description="only the model's own number is accepted"
    )
    modality: Literal["image", "text"] | None = Field(
        None,
        description="what all of input is: `image` means data: URIs, base64 or, where the operator "
        "allows it, http and https addresses; default: a string that begins with `data:image/` is "
        "an image, any other a text",
    )


class LoadRequest(BaseModel):
    """JSON body of POST /api/models/<key>/load; it may also be empty."""

    model_config = ConfigDict(extra="ignore")

    device: Literal["auto", "cpu", "gpu"] = Field(
        "auto", description="`auto` leaves a loaded model where it is; `gpu` falls back to `cpu`"
    )


def decode_base64(text: str) -> bytes:
    """Standard or URL-safe base64, with or without padding, white space ignored; data: URIs too.

    Raises:
        BadRequest: other characters, or nothing at all.
    """
    if text[:5].lower() == "data:":
        header, _, text = text.partition(",")
        if not header.lower().endswith(";base64"):
            raise BadRequest("A data: URI must be base64-encoded", title="Invalid base64")
    compact = "".join(text.split()).translate(str.maketrans("-_", "+/")).rstrip("=")
    try:
        data = base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise BadRequest("image_base64 is not base64", title="Invalid base64") from None
    if not data:
        raise BadRequest("image_base64 is empty", title="No image provided")
    return data
