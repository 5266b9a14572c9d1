# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The shapes of JSON bodies: pydantic models that check requests."""

from __future__ import annotations

import base64
import binascii

from pydantic import BaseModel, ConfigDict, Field

from app.errors import BadRequest


class EmbedOptions(BaseModel):
    """How to embed; the same names as JSON keys and as form fields."""

    # Clients of the replaced service may send keys that we do not know: they are ignored.
    model_config = ConfigDict(extra="ignore")

    model: str | None = None
    normalize: bool = True
    image_size: int | None = Field(default=None, ge=1, le=4096)


class EmbedRequest(EmbedOptions):
    """JSON body of POST /embed-image."""

    image_url: str | None = None
    image_base64: str | None = None


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
