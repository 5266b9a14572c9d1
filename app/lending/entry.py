# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""One model of a process, and what is known of it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Literal

from app.engines.base import DoesNotFit, LoadError, Unsupported
from app.engines.devices import Device
from app.errors import NotAvailable
from app.hub.downloads import DownloadState
from app.models.base import Model
from config.models import ModelSpec
from config.values import EngineName, Precision

log = logging.getLogger("twinlens.models")

Wanted = Literal["auto", "cpu", "gpu"]
State = Literal["not_loaded", "downloading", "loading", "loaded", "unavailable"]

_RETRY_AFTER_SECONDS = 10


@dataclass(frozen=True)
class ModelStatus:
    """What is known of one model; ``reason`` says why it is unavailable."""

    spec: ModelSpec
    state: State
    on_disk: bool
    reason: str | None = None
    device: Device | None = None
    weights: str | None = None
    engine: EngineName | None = None
    precision: Precision | None = None
    revision: str | None = None
    preprocess_version: int | None = None
    #: of the text tower, which is loaded when the first text comes
    text_state: State | None = None
    #: of a download that is under way, once its size is known
    downloaded_bytes: int | None = None
    total_bytes: int | None = None

    @property
    def progress(self) -> float | None:
        """How much of the download is done, 0 to 1; None while that is not known."""
        if self.downloaded_bytes is None or not self.total_bytes:
            return None
        return min(1.0, self.downloaded_bytes / self.total_bytes)


@dataclass
class Entry:
    """One model of this process. ``lock`` is held while it is loaded, so that others wait."""

    spec: ModelSpec
    lock: threading.Lock = field(default_factory=threading.Lock)
    model: Model | None = None
    #: None while the weights are only mapped in host memory, as in the master
    device: Device | None = None
    loading: bool = False
    #: a load that requests wait for
    under_way: Future[Model] | None = None
    failure: LoadError | None = None
    failed_at: float = 0.0
    #: requests that hold the model, and when the last one began or ended (monotonic seconds)
    leases: int = 0
    used_at: float = 0.0

    @contextmanager
    def remembering(self) -> Iterator[None]:
        """Keep the reason of a failed load, so that everybody who asks is told."""
        try:
            yield
        except LoadError as error:
            log.error("%s is unavailable: %s", self.spec.key, error, exc_info=error.__cause__)
            # Not the error itself: its traceback holds what the failed load had in memory.
            self.failure, self.failed_at = type(error)(str(error)), time.monotonic()
            raise type(error)(str(error)) from None
        self.failure = None

    def status(self, on_disk: bool, download: DownloadState | None) -> ModelStatus:
        """What is known of it; never waits for a load."""
        spec, model, device = self.spec, self.model, self.device
        if model is not None and device is not None:
            made_with = asdict(model.provenance())
            return ModelStatus(
                spec, "loaded", on_disk, device=device, weights=model.weights, **made_with
            )
        if self.loading:
            return ModelStatus(spec, "loading", on_disk)
        if self.failure is not None:
            return ModelStatus(spec, "unavailable", on_disk, reason=str(self.failure))
        if download is None:
            return ModelStatus(spec, "not_loaded", on_disk)
        if download.state == "downloading":
            status = ModelStatus(spec, "downloading", on_disk)
            done, total = download.downloaded_bytes, download.total_bytes
            return replace(status, downloaded_bytes=done, total_bytes=total) if total else status
        reason = f"not on disk and cannot be downloaded: {download.error}"
        return ModelStatus(spec, "unavailable", on_disk, reason=reason)


def not_available(spec: ModelSpec, reason: LoadError) -> NotAvailable:
    """The error that a client gets whose model cannot answer now."""
    if spec.family == "depth":  # begins with the words of the replaced service
        message = "Depth estimation model is not available"
        if isinstance(reason, DoesNotFit | Unsupported):
            message += f": {reason}"
        return NotAvailable(message, retry_after=_RETRY_AFTER_SECONDS)
    message = f"{spec.row_key}: {reason}"
    return NotAvailable(message, title="Model not available", retry_after=_RETRY_AFTER_SECONDS)
