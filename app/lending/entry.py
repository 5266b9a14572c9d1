# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The state of one network in one process, and the status types made from it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from app.engines.base import (
    CannotBeDownloaded,
    DoesNotFit,
    Downloading,
    LoadError,
    NotOnDisk,
    Unsupported,
)
from app.engines.devices import Device
from app.errors import BadRequest, Code, NotAvailable
from app.hub.downloads import DownloadState
from app.lending.loaded import LoadedNetwork
from app.models.base import NetworkId
from config.models import ModelSpec
from config.values import EngineName, Precision

log = logging.getLogger("twinlens.models")

Wanted = Literal["auto", "cpu", "gpu"]
State = Literal["not_loaded", "downloading", "loading", "loaded", "unavailable"]

_RETRY_AFTER_SECONDS = 10


class NetworkStatus(BaseModel):
    """One network in one process; ``reason`` says why it is unavailable."""

    model_config = ConfigDict(frozen=True)

    state: State
    reason: str | None = None
    device: Device | None = None
    weights: str | None = None
    engine: EngineName | None = None
    precision: Precision | None = None
    revision: str | None = None
    preprocess_version: int | None = None
    in_use: bool = False
    #: when a request last began or finished using it (monotonic seconds)
    used_at: float = 0.0


@dataclass(frozen=True)
class ModelStatus:
    """The status of one model, which counts as loaded when its first network is loaded."""

    spec: ModelSpec
    on_disk: bool
    network: NetworkStatus
    #: states of its other networks by name; each is loaded when a request first needs it
    others: dict[str, State] = field(default_factory=dict)
    #: progress of the running download; None if there is none, or until its size is known
    downloaded_bytes: int | None = None
    total_bytes: int | None = None

    @property
    def state(self) -> State:
        """The state of its first network."""
        return self.network.state

    @property
    def reason(self) -> str | None:
        """Why the model is unavailable; None if it is not."""
        return self.network.reason

    @property
    def progress(self) -> float | None:
        """The completed part of the download, 0 to 1; None if there is none or it is not known."""
        if self.downloaded_bytes is None or not self.total_bytes:
            return None
        return min(1.0, self.downloaded_bytes / self.total_bytes)


@dataclass
class Entry:
    """One network of this process. ``lock`` is held while the network is loaded or unloaded."""

    id: NetworkId
    lock: threading.Lock = field(default_factory=threading.Lock)
    loaded: LoadedNetwork | None = None
    #: None while the weights are only mapped in host memory, as in the master
    device: Device | None = None
    loading: bool = False
    #: the running load that requests wait for
    pending_load: Future[LoadedNetwork] | None = None
    failure: LoadError | None = None
    failed_at: float = 0.0
    #: number of requests that are using this neural network now
    leases: int = 0
    #: when a request last began or finished using it, whichever is later (monotonic seconds)
    used_at: float = 0.0

    @contextmanager
    def recording_failure(self) -> Iterator[None]:
        """Store the LoadError of the ``with`` block, so that later requests get its reason."""
        try:
            yield
        except LoadError as error:
            log.error("%s is unavailable: %s", self.id.label, error, exc_info=error.__cause__)
            # Stores a copy of the error, because the traceback of the original would keep the
            # tensors of the failed load in memory.
            self.failure, self.failed_at = type(error)(str(error)), time.monotonic()
            raise type(error)(str(error)) from None
        self.failure = None

    def status(self) -> NetworkStatus:
        """The present status; never waits for a load."""
        loaded, device = self.loaded, self.device
        use: Any = {"in_use": self.leases > 0, "used_at": self.used_at}
        if loaded is not None and device is not None:
            made_with = asdict(loaded.provenance())
            return NetworkStatus(
                state="loaded", device=device, weights=loaded.weights, **made_with, **use
            )
        if self.loading:
            return NetworkStatus(state="loading", **use)
        if self.failure is not None:
            return NetworkStatus(state="unavailable", reason=str(self.failure), **use)
        return NetworkStatus(state="not_loaded", **use)


def with_download(status: NetworkStatus, download: DownloadState | None) -> NetworkStatus:
    """The status of a network, changed by the state of its download if there is one."""
    if download is None or status.state != "not_loaded":
        return status
    if download.state == "downloading":
        return status.model_copy(update={"state": "downloading"})
    reason = f"not on disk and cannot be downloaded: {download.error}"
    return status.model_copy(update={"state": "unavailable", "reason": reason})


def not_available(spec: ModelSpec, reason: LoadError) -> NotAvailable:
    """The error for clients of a model that cannot be used now.

    Where waiting does not help, because a person has to do something first, there is no
    ``Retry-After``.
    """
    if spec.task == "depth":  # clients of the replaced service know this beginning
        message = "Depth estimation model is not available"
        if isinstance(reason, DoesNotFit | Unsupported):
            message += f": {reason}"
        title = None
    else:
        message, title = f"{spec.key}: {reason}", "Model not available"
    is_final = isinstance(reason, CannotBeDownloaded | Unsupported)
    code: Code = "model_unavailable"
    if isinstance(reason, NotOnDisk | Downloading):
        code = "model_downloading" if isinstance(reason, Downloading) else "model_not_on_disk"
    return NotAvailable(
        message,
        title=title,
        retry_after=None if is_final else _RETRY_AFTER_SECONDS,
        code=code,
        reason=str(reason),
    )


def embeds_images_only(spec: ModelSpec) -> BadRequest:
    """The error for clients that send texts to a model without a text network."""
    return BadRequest(
        f"{spec.key} embeds images only; choose a model with a text network", title="No texts"
    )
