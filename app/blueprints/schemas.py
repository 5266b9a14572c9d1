# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The shapes of JSON bodies: pydantic models that check requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from app.server.json_body import DetachedString

# No setting allows more items in a batch.
MAX_BATCH = 1024


def _no_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("a number is expected")
    return value


def _detached(value: object, validate: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
    """What a placeholder stands for; see ``json_body``."""
    found = info.context.get(value) if info.context and isinstance(value, str) else None
    return validate(value) if found is None else found


def _beginning(value: object, info: ValidationInfo) -> object:
    found = info.context.get(value) if info.context and isinstance(value, str) else None
    return value if found is None else found.text


if TYPE_CHECKING:
    Text = str | DetachedString
else:
    #: a text or an image, of any length; one with a lone surrogate spoils nothing but itself
    Text = Annotated[str, WrapValidator(_detached)]

#: the key of a model; of one that is too long for any, the beginning
Key = Annotated[str, BeforeValidator(_beginning)]


def _or_null(kind: Any, default: object) -> BeforeValidator:
    """Some clients send null for what they leave to the service."""
    return BeforeValidator(
        lambda value: default if value is None else value, json_schema_input_type=kind | None
    )


_Encoding = Literal["float", "base64"]
_Device = Literal["auto", "cpu", "gpu"]


class VectorOptions(BaseModel):
    """What is wanted of a vector."""

    # Clients of the replaced service may send keys that we do not know: they are ignored.
    model_config = ConfigDict(extra="ignore")

    model: Key | None = Field(None, description="key of an embedding model; default DEFAULT_MODEL")
    normalize: Annotated[bool, _or_null(bool, True)] = Field(
        True, description="bring the vector to L2 norm 1"
    )


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

    image_url: Text | None = Field(
        None, description="http or https address of an image, at most 8192 characters"
    )
    image_base64: Text | None = Field(
        None,
        description="standard or URL-safe base64, padding optional, white space ignored; "
        "a data: URI is accepted, too, also a percent-encoded one",
    )


class EmbedRequest(ImageSource, EmbedOptions):
    """JSON body of POST /embed-image."""


class EmbedBatchRequest(EmbedOptions):
    """JSON body of POST /embed-batch."""

    # The setting EMBED_BATCH_API_MAX_ITEMS is at most this; fail_fast keeps errors few, too.
    items: list[ImageSource] = Field(min_length=1, max_length=MAX_BATCH, fail_fast=True)


class EmbedTextRequest(VectorOptions):
    """JSON body of POST /embed-text: exactly one of the two."""

    text: Text | None = Field(None, description="one text; what the model cannot read is cut off")
    texts: list[Text] | None = Field(None, min_length=1, max_length=MAX_BATCH, fail_fast=True)


def _as_list(value: object) -> object:
    first = value[0] if isinstance(value, list) and value else None
    if isinstance(first, int | list):
        raise ValueError("arrays of tokens are not accepted, since their numbers mean other words")
    return [value] if isinstance(value, str) else value


class OpenAIRequest(BaseModel):
    """JSON body of POST /v1/embeddings; ``user`` and other keys of OpenAI's are ignored."""

    model_config = ConfigDict(extra="ignore")

    input: Annotated[
        list[Text], BeforeValidator(_as_list, json_schema_input_type=str | list[str])
    ] = Field(max_length=MAX_BATCH, fail_fast=True)
    model: Key | None = Field(None, description="key of an embedding model; default DEFAULT_MODEL")
    encoding_format: Annotated[_Encoding, _or_null(_Encoding, "float")] = Field(
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

    device: Annotated[_Device, _or_null(_Device, "auto")] = Field(
        "auto", description="`auto` leaves a loaded model where it is; `gpu` falls back to `cpu`"
    )
