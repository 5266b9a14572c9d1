# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""One model of a process, and what is known of it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Literal

from app.errors import NotAvailable
from app.models.base import DoesNotFit, LoadError, Model
from app.models.devices import Device
from config.models import ModelSpec

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
    downloaded_bytes: int | None = None
    total_bytes: int | None = None


@dataclass
class Entry:
    """One model of this process. ``lock`` is held while it is loaded, so that others wait."""

    spec: ModelSpec
    lock: threading.Lock = field(default_factory=threading.Lock)
    model: Model | None = None
    #: None while the weights are only mapped in host memory, as in the master
    device: Device | None = None
    loading: bool = False
    failure: LoadError | None = None
    failed_at: float = 0.0
    #: requests that hold the model, and when the last one began or ended (monotonic seconds)
    leases: int = 0
    used_at: float = 0.0


def not_available(spec: ModelSpec, reason: LoadError) -> NotAvailable:
    """The error that a client gets whose model cannot answer now."""
    if spec.family == "depth":  # the exact words of the replaced service; /health has the reason
        message = "Depth estimation model is not available"
        if isinstance(reason, DoesNotFit):
            message += f": {reason}"
        return NotAvailable(message, retry_after=_RETRY_AFTER_SECONDS)
    message = f"{spec.key}: {reason}"
    return NotAvailable(message, title="Model not available", retry_after=_RETRY_AFTER_SECONDS)
