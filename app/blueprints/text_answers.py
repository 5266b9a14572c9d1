# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The shapes of the answers to texts, and of those in OpenAI's shape; see ``answers``."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel


class TextEmbedding(BaseModel):
    """POST /embed-text with one text; ``tokens`` are those that the model has read."""

    embedding: list[float]
    dims: int
    provider: str
    model: str
    tokens: int
    truncated: bool
    weights: str | None = None


class TextItem(BaseModel):
    """One result of POST /embed-text with several texts, in their order."""

    index: int
    status: Literal["ok", "error"]
    model: str
    embedding: list[float] | None = None
    dims: int | None = None
    tokens: int | None = None
    truncated: bool | None = None
    error: str | None = None


class TextBatch(BaseModel):
    """POST /embed-text with several texts."""

    model: str
    total: int
    succeeded: int
    failed: int
    results: list[TextItem]
    weights: str | None = None


class OpenAIFault(BaseModel):
    """What is wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIError(BaseModel):
    """Every error of the routes below /v1."""

    error: OpenAIFault


class OpenAIEmbedding(BaseModel):
    """One vector; a text where base64 was asked for."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class OpenAIUsage(BaseModel):
    """Tokens of texts that the model has read; images count none."""

    prompt_tokens: int
    total_tokens: int


class OpenAIEmbeddings(BaseModel):
    """POST /v1/embeddings."""

    object: Literal["list"]
    data: list[OpenAIEmbedding]
    model: str
    usage: OpenAIUsage


class OpenAIModel(BaseModel):
    """One model of GET /v1/models."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class OpenAIModels(BaseModel):
    """GET /v1/models."""

    object: Literal["list"]
    data: list[OpenAIModel]
