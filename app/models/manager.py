# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The model manager: each model is loaded once and lent out."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal

from app.errors import NotAvailable
from app.models.base import LoadError, Model
from app.models.devices import Device, resolve
from app.models.downloads import Downloads
from app.models.registry import FAMILIES
from app.models.store import Checkpoint
from config.models import ModelSpec

log = logging.getLogger("twinlens.models")

State = Literal["not_loaded", "downloading", "loading", "loaded", "unavailable"]

# After a failed load, requests get the reason at once for this long instead of trying again.
_REMEMBER_FAILURE_SECONDS = 30.0
_RETRY_AFTER_SECONDS = 10


@dataclass(frozen=True)
class ModelStatus:
    """What is known of one model; ``reason`` says why it is unavailable."""

    spec: ModelSpec
    state: State
    on_disk: bool
    reason: str | None = None
    weights: str | None = None
    downloaded_bytes: int | None = None
    total_bytes: int | None = None


@dataclass
class _Entry:
    """One model of this process. ``lock`` is held while it is loaded, so that others wait."""

    spec: ModelSpec
    lock: threading.Lock = field(default_factory=threading.Lock)
    model: Model | None = None
    on_device: bool = False
    loading: bool = False
    failure: str | None = None
    failed_at: float = 0.0
    leases: int = 0


class Manager:
    """The models of one process.

    In the master ``preload`` maps checkpoints into host memory; after the fork the workers share
    those pages and move them to their device on first use.
    """

    def __init__(self, specs: Iterable[ModelSpec], downloads: Downloads, device: str) -> None:
        self._entries = {spec.key: _Entry(spec) for spec in specs}
        self._downloads = downloads
        self._device_setting = device
        self._device: Device | None = None

    def preload(self, spec: ModelSpec) -> None:
        """Before the fork: load to host memory what is on disk; failures are remembered."""
        entry = self._entries[spec.key]
        checkpoint = self._find(spec)
        if checkpoint is not None:
            # A failure is logged, and shown by the status.
            with entry.lock, suppress(LoadError):
                self._load(entry, checkpoint)

    @contextmanager
    def lease(self, spec: ModelSpec) -> Iterator[Model]:
        """Lend the model, loading it first if need be. Callers that come meanwhile wait for it.

        Raises:
            NotAvailable: it is not on disk (its download has been started) or cannot be loaded.
        """
        entry = self._entries[spec.key]
        with entry.lock:
            model = self._ready(entry)
            entry.leases += 1
        try:
            yield model
        finally:
            with entry.lock:
                entry.leases -= 1

    def status(self, spec: ModelSpec) -> ModelStatus:
        """What is known of a model; never waits for a load."""
        entry = self._entries[spec.key]
        on_disk = self._find(spec) is not None
        model = entry.model
        if model is not None and entry.on_device:
            return ModelStatus(spec, "loaded", on_disk, weights=model.weights)
        if entry.loading:
            return ModelStatus(spec, "loading", on_disk)
        if entry.failure is not None:
            return ModelStatus(spec, "unavailable", on_disk, reason=entry.failure)
        download = None if on_disk else self._downloads.state(spec)
        if download is None:
            return ModelStatus(spec, "not_loaded", on_disk)
        done, total = download.downloaded_bytes, download.total_bytes
        if download.state == "downloading":
            return ModelStatus(
                spec, "downloading", on_disk, downloaded_bytes=done, total_bytes=total
            )
        reason = f"not on disk and cannot be downloaded: {download.error}"
        return ModelStatus(spec, "unavailable", on_disk, reason=reason)

    def statuses(self) -> list[ModelStatus]:
        """All models, in the order of the table."""
        return [self.status(entry.spec) for entry in self._entries.values()]

    def on_disk(self, spec: ModelSpec) -> bool:
        """Whether the checkpoint is complete on disk."""
        return self._find(spec) is not None

    def request_download(self, spec: ModelSpec) -> None:
        """Start the download of a model and return at once."""
        self._downloads.request(spec, FAMILIES[spec.family].FILES)

    def device(self) -> Device:
        """The device of this process; only after the fork. Raises LoadError."""
        if self._device is None:
            self._device = resolve(self._device_setting)
            log.info("using device %s (%s)", self._device.type, self._device.name)
        return self._device

    def _find(self, spec: ModelSpec) -> Checkpoint | None:
        return self._downloads.find(spec, FAMILIES[spec.family].FILES)

    def _ready(self, entry: _Entry) -> Model:
        """The entry's model on the device; the caller holds the lock."""
        if entry.model is not None and entry.on_device:
            return entry.model
        if entry.failure and time.monotonic() - entry.failed_at < _REMEMBER_FAILURE_SECONDS:
            raise _not_available(entry.spec, entry.failure)
        model = entry.model
        checkpoint = self._find(entry.spec) if model is None else None
        if model is None and checkpoint is None:
            self.request_download(entry.spec)
            raise _not_available(entry.spec, "its weights are not on disk yet; downloading them")
        entry.loading = True
        try:
            if checkpoint is not None:
                model = self._load(entry, checkpoint)
            assert model is not None
            self._to_device(entry, model)
        except LoadError as error:
            raise _not_available(entry.spec, str(error)) from error
        finally:
            entry.loading = False
        return model

    def _load(self, entry: _Entry, checkpoint: Checkpoint) -> Model:
        started = time.monotonic()
        try:
            model = FAMILIES[entry.spec.family].load(entry.spec, checkpoint)
        except LoadError as error:
            self._remember(entry, error)
            raise
        log.info(
            "%s (%s weights) mapped in %.2f s",
            entry.spec.key,
            model.weights,
            time.monotonic() - started,
        )
        entry.model, entry.failure = model, None
        return model

    def _to_device(self, entry: _Entry, model: Model) -> None:
        started = time.monotonic()
        try:
            model.to_device(self.device().type)
            model.warm_up()
        except LoadError as error:
            self._remember(entry, error)
            raise
        except RuntimeError as error:  # torch: out of memory, a lost device
            failure = LoadError("the device refused the model")
            self._remember(entry, failure, cause=error)
            raise failure from error
        entry.on_device = True
        log.info("%s is warm after %.2f s", entry.spec.key, time.monotonic() - started)

    def _remember(
        self, entry: _Entry, failure: LoadError, cause: BaseException | None = None
    ) -> None:
        entry.failure, entry.failed_at = str(failure), time.monotonic()
        cause = cause or failure.__cause__
        log.error("%s is unavailable: %s", entry.spec.key, failure, exc_info=cause)


def _not_available(spec: ModelSpec, reason: str) -> NotAvailable:
    if spec.family == "depth":  # the exact words of the replaced service; /health has the reason
        message = "Depth estimation model is not available"
        return NotAvailable(message, retry_after=_RETRY_AFTER_SECONDS)
    message = f"{spec.key}: {reason}"
    return NotAvailable(message, title="Model not available", retry_after=_RETRY_AFTER_SECONDS)
