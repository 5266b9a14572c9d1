# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The shapes of JSON answers, for the OpenAPI document; tests check the answers against them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from app.errors import Code
from app.lending.entry import State
from config.values import EngineName, Precision, PrecisionSetting


class Error(BaseModel):
    """The body of every error, except on the routes below /v1."""

    error: str
    message: str
    detail: str
    code: Code = Field(description="for programs; docs/api.md explains each")


class NotAvailable(Error):
    """The answer if a model cannot serve requests now."""

    reason: str = Field(description="why, such as how far the download of a model is")


class OperationError(Error):
    """The answer if an operation on a model failed."""

    success: Literal[False]


class Index(BaseModel):
    """The answer of GET /."""

    message: str
    version: str
    model: str
    endpoints: dict[str, str]


class DeviceAnswer(BaseModel):
    """The device that inference runs on."""

    type: str
    name: str


class Download(BaseModel):
    """The progress of a model's download, or why the model is unavailable."""

    reason: str | None = None
    downloaded_bytes: int | None = None
    total_bytes: int | None = None
    progress: float | None = Field(None, ge=0, le=1)


class ModelState(Download):
    """One model in /health and /ready."""

    name: str
    type: str
    loaded: bool
    state: State
    weights: str | None = None
    engine: EngineName | None = None
    precision: Precision | None = None
    revision: str | None = None
    preprocess_version: int | None = None
    text_state: State | None = None


class Memory(BaseModel):
    """Memory in use, in megabytes (2**20 bytes)."""

    allocated_mb: float
    reserved_mb: float
    process_rss_mb: float


class Queue(BaseModel):
    """The requests that are computed or wait in the waiting room, and their limits."""

    concurrency: int
    in_flight: int
    waiting: int
    max_queue: int
    max_wait_seconds: float


class Health(BaseModel):
    """The answer of GET /health."""

    status: Literal["healthy", "ok", "unhealthy"]
    service: str
    model: str
    model_status: State
    provider: str
    default_model: str
    device: DeviceAnswer
    engine: EngineName
    precision: PrecisionSetting
    models: list[ModelState]
    memory: Memory
    queue: Queue
    cache: dict[Literal["hits", "misses", "size"], int]
    version: str
    workers: int
    reason: str | None = None


class Ready(BaseModel):
    """The answer of GET /ready, with status 200 or 503."""

    ready: bool
    default_model_loaded: bool
    default_model: str
    device: DeviceAnswer
    models: list[ModelState]
    reason: str | None = None


class EmbeddingModel(BaseModel):
    """One model of GET /models."""

    id: str
    name: str
    description: str
    #: null until it is known from the table of models or from the checkpoint on disk
    dims: int | None
    image_size: int | None
    license: str
    huggingface_id: str
    state: State
    weights: str | None


class EmbeddingModels(BaseModel):
    """The answer of GET /models."""

    models: list[EmbeddingModel]


class Embedding(BaseModel):
    """The answer of POST /embed-image."""

    embedding: list[float] | str
    dims: int
    provider: str
    model: str
    image_size: int
    weights: str | None = None


class BatchItem(BaseModel):
    """One result of POST /embed-batch, in the order of the items."""

    index: int
    status: Literal["ok", "error"]
    model: str
    image_size: int
    embedding: list[float] | str | None = None
    dims: int | None = None
    error: str | None = None
    code: Code | None = None


class Batch(BaseModel):
    """The answer of POST /embed-batch."""

    model: str
    image_size: int
    total: int
    succeeded: int
    failed: int
    results: list[BatchItem]
    weights: str | None = None


class TextEmbedding(BaseModel):
    """The answer of POST /embed-text with one text; ``tokens`` are those that the model read."""

    embedding: list[float] | str
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
    embedding: list[float] | str | None = None
    dims: int | None = None
    tokens: int | None = None
    truncated: bool | None = None
    error: str | None = None
    code: Code | None = None


class TextBatch(BaseModel):
    """The answer of POST /embed-text with several texts."""

    model: str
    total: int
    succeeded: int
    failed: int
    results: list[TextItem]
    weights: str | None = None


class OpenAIFault(BaseModel):
    """The error object of OpenAI's API."""

    message: str
    type: str
    param: str | None
    code: str | None
    reason: str | None = None


class OpenAIError(BaseModel):
    """Every error of the routes below /v1."""

    error: OpenAIFault
    code: Code = Field(description="as in errors of all other routes")


class OpenAIEmbedding(BaseModel):
    """One vector, as numbers or as a base64 string."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class OpenAIUsage(BaseModel):
    """The number of tokens that the model read; images count as none."""

    prompt_tokens: int
    total_tokens: int


class OpenAIEmbeddings(BaseModel):
    """The answer of POST /v1/embeddings."""

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
    """The answer of GET /v1/models."""

    object: Literal["list"]
    data: list[OpenAIModel]


class ManagedModel(BaseModel):
    """One model of GET /api/models."""

    key: str
    name: str
    type: str
    params: str
    memory: str
    #: size of the download, such as "599 MB"; null if it is not known, or if there is none
    download: str | None
    description: str
    huggingface_id: str
    license: str
    #: whether a depth model gives metres; null until that is known, and for other models
    metric: bool | None
    is_loaded: bool
    is_downloaded: bool
    state: State
    weights: str | None


class OneModel(ManagedModel, Download):
    """The answer of GET /api/models/{key}."""


class ManagedModels(BaseModel):
    """The answer of GET /api/models."""

    models: list[ManagedModel]
    current_model: str | None
    current_device: Literal["cpu", "gpu"] | None
    default_model: str
    #: false if HF_HUB_OFFLINE is set: models that are not on disk cannot be downloaded
    can_download: bool


class CurrentModel(BaseModel):
    """The answer of GET /api/models/current."""

    loaded: bool
    current_model: str | None
    device: Literal["cpu", "gpu"] | None
    available_models: list[str]
    downloaded_models: list[str]


class Done(BaseModel):
    """The answer if an operation on a model succeeded."""

    success: Literal[True]
    message: str


class Added(Done):
    """The answer of POST /api/models."""

    key: str
    family: str
    #: "unknown" if the model's page states none
    license: str


class Loaded(Done):
    """The answer of POST /api/models/{key}/load."""

    current_model: str | None


class SplatStatus(BaseModel):
    """The answer of GET /api/splat/status."""

    model_key: Literal["sharp"]
    model_name: str
    is_downloaded: bool
    is_loaded: bool
    state: State
    #: key of the model whose depth maps the splats are made from; absent if it is Apple's program
    depth_model: str | None = None
    reason: str | None = None


class SplatDownload(BaseModel):
    """The answer of POST /api/splat/download."""

    status: Literal["already_downloaded", "success"]
    message: str


class SplatDownloadFailed(OperationError):
    """The answer of POST /api/splat/download if it failed."""

    status: Literal["failed"]


class CleanUp(BaseModel):
    """The answer of POST /admin/cleanup."""

    gc_collected: int
    gpu_freed_mb: float
    process_rss_mb: float
    gpu_allocated_mb: float
    gpu_reserved_mb: float
