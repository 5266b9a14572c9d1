# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The OpenAPI document's example requests, which "Try it out" in /docs sends unchanged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from pydantic import BaseModel

from app.blueprints import schemas, shapes
from config.families import Task
from config.models import ModelSpec

# A PNG of 8x8 pixels.
_IMAGE = (
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAGUlEQVR42mNkYGhQYWDARCwMKgxYweCUAACHmwKWKHHObgAAAABJRU5E"
    "rkJggg=="
)
_TEXT = "a dog on a beach"


@dataclass(frozen=True)
class Models:
    """The models that the examples name."""

    #: key of the model in the examples of loading and unloading
    any: str = "small"
    #: key of the embedding model in all other examples, and its native image size in pixels
    embedding: str = "ViT-L-14"
    image_size: int = 224

    @classmethod
    def of(cls, defaults: Mapping[Task, ModelSpec]) -> Self:
        """Name a service's default models; if embedding is turned off, its values above remain."""
        named: dict[str, Any] = {}
        if embedding := defaults.get("embedding"):
            named = {
                "any": embedding.key,
                "embedding": embedding.key,
                "image_size": embedding.image_size,
            }
        if depth := defaults.get("depth"):
            named["any"] = depth.key
        return cls(**named)


#: A valid JSON body for each request schema.
BODIES: dict[type[BaseModel], dict[str, Any]] = {
    schemas.EmbedRequest: {"image_base64": _IMAGE, "normalize": True},
    schemas.EmbedBatchRequest: {
        "items": [{"image_base64": _IMAGE}, {"image_base64": _IMAGE}],
        "normalize": True,
    },
    schemas.EmbedTextRequest: {"text": _TEXT, "normalize": True},
    schemas.OpenAIRequest: {"input": [_TEXT, "a mountain lake"], "encoding_format": "float"},
    shapes.SimilarityRequest: {
        "inputs": [{"text": _TEXT}, {"text": "a mountain lake"}],
        "others": [{"image_base64": _IMAGE}],
    },
    shapes.ClassifyRequest: {
        "image_base64": _IMAGE,
        "labels": ["dog", "cat", "mountain lake"],
        "templates": ["a photo of a {}"],
    },
    shapes.CohereRequest: {
        "inputs": [
            {"content": [{"type": "text", "text": _TEXT}]},
            {
                "content": [
                    {
                        "type": "image_url",
                        "image_url": {"url": f"data:image/png;base64,{_IMAGE}"},
                    }
                ]
            },
        ],
        "input_type": "search_document",
        "embedding_types": ["float", "ubinary"],
    },
    schemas.AddRequest: {"key": "siglip2", "source": "timm/ViT-B-16-SigLIP2"},
    schemas.LoadRequest: {"device": "auto"},
}
