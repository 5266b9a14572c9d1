# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The shapes of request bodies: pydantic models that check them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from app.server.json_body import DetachedString

# The upper limit of the setting EMBED_BATCH_API_MAX_ITEMS.
MAX_BATCH = 1024


def _no_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("a number is expected")
    return value


def _detached(value: object, validate: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
    """Replace a placeholder by the long string that ``json_body`` took out of the JSON."""
    found = info.context.get(value) if info.context and isinstance(value, str) else None
    return validate(value) if found is None else found


def _beginning(value: object, info: ValidationInfo) -> object:
    """Replace a placeholder by the beginning of its string, which is enough for a model's key."""
    found = info.context.get(value) if info.context and isinstance(value, str) else None
    return value if found is None else found.text


if TYPE_CHECKING:
    Text = str | DetachedString
else:
    #: a text or an image of any length; a lone surrogate in it fails only this item of a batch
    Text = Annotated[str, WrapValidator(_detached)]

#: the key of a model, cut off if it is longer than any key can be
Key = Annotated[str, BeforeValidator(_beginning)]


def _or_null(kind: Any, default: object) -> BeforeValidator:
    """Replace null by the default: some clients send null for options that they do not set."""
    return BeforeValidator(
        lambda value: default if value is None else value, json_schema_input_type=kind | None
    )


#: how vectors are written: as numbers, or as base64 of the bytes of one of these kinds
Encoding = Literal["float", "base64", "float16", "int8", "binary"]
_ENCODING = (
    "`float`: a list of numbers; the others are base64 strings of bytes. `base64`: float32, "
    "`float16`: halves, both little endian; `int8`: a signed byte for each number, scaled so that "
    "the largest is 127; `binary`: a bit for each number, 1 above 0, the first in the highest bit"
)
_Device = Literal["auto", "cpu", "gpu"]


class VectorOptions(BaseModel):
    """Options of all routes that answer vectors."""

    # Unknown keys are ignored: clients of the replaced service may send some.
    model_config = ConfigDict(extra="ignore")

    model: Key | None = Field(None, description="key of an embedding model; default DEFAULT_MODEL")
    normalize: Annotated[bool, _or_null(bool, True)] = Field(
        True, description="bring the vector to L2 norm 1"
    )
    encoding_format: Annotated[Encoding, _or_null(Encoding, "float")] = Field(
        "float", description=_ENCODING
    )

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if not self.normalize and self.encoding_format in ("int8", "binary"):
            raise ValueError(
                f"encoding_format={self.encoding_format} keeps no lengths, so normalize=false has "
                "no meaning: leave it out"
            )
        return self


class EmbedOptions(VectorOptions):
    """Options for embedding an image, by the same names as JSON keys and as form fields."""

    image_size: Annotated[int | None, BeforeValidator(_no_bool)] = Field(
        None,
        ge=1,
        le=4096,
        description="shortest edge, pixels, that the source is resized to before the model's own "
        "preparation; default: the model's native size",
    )


class ImageSource(BaseModel):
    """Where an image comes from: an address or base64, exactly one of them."""

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

    # fail_fast stops at the first wrong item, so that a huge list does not make a huge error.
    items: list[ImageSource] = Field(min_length=1, max_length=MAX_BATCH, fail_fast=True)


class EmbedTextRequest(VectorOptions):
    """JSON body of POST /embed-text: exactly one of ``text`` and ``texts``."""

    text: Text | None = Field(None, description="one text; what the model cannot read is cut off")
    texts: list[Text] | None = Field(None, min_length=1, max_length=MAX_BATCH, fail_fast=True)


def _as_list(value: object) -> object:
    first = value[0] if isinstance(value, list) and value else None
    if isinstance(first, int | list):
        raise ValueError(
            "arrays of tokens are not accepted, because the numbers differ between models: send "
            "texts (LangChain's OpenAIEmbeddings: check_embedding_ctx_length=False)"
        )
    return [value] if isinstance(value, str | dict) else value


class InputItem(BaseModel):
    """An item of Jina's API: a text or an image, exactly one of them."""

    model_config = ConfigDict(extra="ignore")

    text: Text | None = Field(None, description="a text")
    image: Text | None = Field(
        None,
        description="a data: URI, base64, or, where the operator allows it, an http or https "
        "address",
    )


def _kind_of_item(value: object) -> str:
    return "item" if isinstance(value, dict | InputItem) else "text"


_Input = Annotated[
    Annotated[Text, Tag("text")] | Annotated[InputItem, Tag("item")], Discriminator(_kind_of_item)
]


class OpenAIRequest(BaseModel):
    """JSON body of POST /v1/embeddings; OpenAI's further keys, such as ``user``, are ignored."""

    model_config = ConfigDict(extra="ignore")

    input: Annotated[
        list[_Input],
        BeforeValidator(_as_list, json_schema_input_type=str | list[str | InputItem]),
    ] = Field(max_length=MAX_BATCH, fail_fast=True)
    model: Key | None = Field(None, description="key of an embedding model; default DEFAULT_MODEL")
    encoding_format: Annotated[Encoding, _or_null(Encoding, "float")] = Field(
        "float", description=_ENCODING
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
    embedding_type: Literal["float", "base64", "binary", "ubinary"] | None = Field(
        None,
        description="Jina's, in place of `encoding_format`: `base64` of float32 numbers, or one "
        "bit for each number in a list of bytes, which are signed (`binary`) or not (`ubinary`)",
    )
    normalized: Literal[True] | None = Field(
        None, description="Jina's: the vectors always have L2 norm 1"
    )
    late_chunking: Literal[False] | None = Field(None, description="Jina's: is not supported")

    @model_validator(mode="after")
    def _one_encoding(self) -> Self:
        if self.embedding_type is not None and "encoding_format" in self.model_fields_set:
            raise ValueError("give encoding_format or embedding_type, not both")
        return self


def _printable(value: str) -> str:
    if not value.isprintable():
        raise ValueError("line ends and control characters are not allowed")
    return value


class AddRequest(BaseModel):
    """JSON body of POST /api/models."""

    model_config = ConfigDict(extra="ignore")

    key: Key = Field(
        max_length=64, description="key of the new model: letters, digits, `.`, `_` and `-`"
    )
    source: Key = Field(
        max_length=250,
        description="a repository of the hub: `OWNER/NAME`, or the address of its page",
    )
    name: Annotated[Key, Field(max_length=100), AfterValidator(_printable)] | None = Field(
        None, description="name to display; default: the repository's"
    )


class LoadRequest(BaseModel):
    """JSON body of POST /api/models/<key>/load; it may also be empty."""

    model_config = ConfigDict(extra="ignore")

    device: Annotated[_Device, _or_null(_Device, "auto")] = Field(
        "auto", description="`auto` leaves a loaded model where it is; `gpu` falls back to `cpu`"
    )
