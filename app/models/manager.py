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

from app import memory
from app.errors import NotAvailable
from app.models.base import LoadError, Model
from app.models.devices import Device, resolve
from app.models.downloads import Downloads
from app.models.registry import FAMILIES
from app.models.store import Checkpoint
from config.models import ModelSpec

log = logging.getLogger("twinlens.models")

Wanted = Literal["auto", "cpu", "gpu"]
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
    device: Device | None = None
    weights: str | None = None
    downloaded_bytes: int | None = None
    total_bytes: int | None = None


@dataclass
class _Entry:
    """One model of this process. ``lock`` is held while it is loaded, so that others wait."""

    spec: ModelSpec
    lock: threading.Lock = field(default_factory=threading.Lock)
    model: Model | None = None
    #: None while the weights are only mapped in host memory, as in the master
    device: Device | None = None
    loading: bool = False
    failure: str | None = None
    failed_at: float = 0.0


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

    # -- use -----------------------------------------------------------------------------------

    def preload(self, spec: ModelSpec) -> None:
        """Before the fork: load to host memory what is on disk; failures are remembered."""
        entry = self._entries[spec.key]
        checkpoint = self._find(spec)
        if checkpoint is not None:
            # A failure is logged, and shown by the status.
            with entry.lock, suppress(LoadError), self._remembering(entry):
                entry.model = self._load(spec, checkpoint)

    def check(self, spec: ModelSpec) -> None:
        """Whether a lease can be had, without waiting: an answer that is no is given at once.

        Raises:
            NotAvailable: it is not on disk (its download has been started) or failed to load.
        """
        entry = self._entries[spec.key]
        if entry.model is not None:
            return
        if entry.failure and time.monotonic() - entry.failed_at < _REMEMBER_FAILURE_SECONDS:
            raise _not_available(spec, entry.failure)
        if not self.on_disk(spec):
            self._downloads.request(spec, FAMILIES[spec.family].FILES)
            raise _not_available(spec, "its weights are not on disk yet; downloading them")

    @contextmanager
    def lease(self, spec: ModelSpec) -> Iterator[Model]:
        """Lend the model, loading it first if need be. Callers that come meanwhile wait for it.

        Raises:
            NotAvailable: it is not on disk (its download has been started) or cannot be loaded.
        """
        entry = self._entries[spec.key]
        with entry.lock:
            model = self._ready(entry)
        yield model  # an unload meanwhile takes nothing from under its user

    # -- management ----------------------------------------------------------------------------

    def load(self, spec: ModelSpec, wanted: Wanted = "auto") -> Device:
        """Load a model that is on disk, and say on which device; cheap when that is done already.

        "auto" leaves a loaded model where it is; "gpu" means the CPU where there is no other.

        Raises:
            LoadError: the message says why.
        """
        entry = self._entries[spec.key]
        with entry.lock:
            target = self._target(entry, wanted)
            if entry.device != target:
                self._bring(entry, target)
        return target

    def unload(self, spec: ModelSpec) -> None:
        """Give its memory back; requests that hold a lease finish with it. Never fails."""
        entry = self._entries[spec.key]
        with entry.lock:
            entry.model, entry.device, entry.failure = None, None, None
        memory.clean_up()

    # -- state ---------------------------------------------------------------------------------

    def status(self, spec: ModelSpec) -> ModelStatus:
        """What is known of a model; never waits for a load."""
        entry = self._entries[spec.key]
        on_disk = self._find(spec) is not None
        model, device = entry.model, entry.device
        if model is not None and device is not None:
            return ModelStatus(spec, "loaded", on_disk, device=device, weights=model.weights)
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

    def device(self) -> Device:
        """The device of this process; only after the fork. Raises LoadError."""
        if self._device is None:
            self._device = resolve(self._device_setting)
            log.info("using device %s (%s)", self._device.type, self._device.name)
        return self._device

    # -- inside; the caller holds the entry's lock ---------------------------------------------

    def _find(self, spec: ModelSpec) -> Checkpoint | None:
        return self._downloads.find(spec, FAMILIES[spec.family].FILES)

    def _ready(self, entry: _Entry) -> Model:
        """The model, on some device."""
        if entry.model is not None and entry.device is not None:
            return entry.model
        self.check(entry.spec)
        try:
            with self._remembering(entry):
                device = self.device()
            return self._bring(entry, device)
        except LoadError as error:
            raise _not_available(entry.spec, str(error)) from error

    def _target(self, entry: _Entry, wanted: Wanted) -> Device:
        if wanted == "cpu":
            return resolve("cpu")
        if wanted == "gpu":
            own = self.device()
            return own if own.is_gpu else resolve("auto")
        return entry.device or self.device()

    def _bring(self, entry: _Entry, target: Device) -> Model:
        """Load and warm the model on a device. Raises LoadError."""
        started = time.monotonic()
        entry.loading = True
        try:
            with self._remembering(entry):
                # A host copy can be moved as it is; one that is in use on a device cannot.
                model = entry.model if entry.device is None else None
                if model is None:
                    checkpoint = self._find(entry.spec)
                    if checkpoint is None:
                        raise LoadError("its weights are not on disk")
                    model = self._load(entry.spec, checkpoint)
                try:
                    model.to_device(target.type)
                    model.warm_up()
                except RuntimeError as error:  # torch: out of memory, a lost device
                    raise LoadError("the device refused the model") from error
        finally:
            entry.loading = False
        entry.model, entry.device = model, target
        elapsed = time.monotonic() - started
        log.info("%s is warm on %s after %.2f s", entry.spec.key, target.type, elapsed)
        return model

    def _load(self, spec: ModelSpec, checkpoint: Checkpoint) -> Model:
        started = time.monotonic()
        model = FAMILIES[spec.family].load(spec, checkpoint)
        elapsed = time.monotonic() - started
        log.info("%s (%s weights) mapped in %.2f s", spec.key, model.weights, elapsed)
        return model

    @contextmanager
    def _remembering(self, entry: _Entry) -> Iterator[None]:
        """Keep the reason of a failed load, so that everybody who asks is told."""
        try:
            yield
        except LoadError as failure:
            entry.failure, entry.failed_at = str(failure), time.monotonic()
            cause = failure.__cause__
            log.error("%s is unavailable: %s", entry.spec.key, failure, exc_info=cause)
            raise
        entry.failure = None


def _not_available(spec: ModelSpec, reason: str) -> NotAvailable:
    if spec.family == "depth":  # the exact words of the replaced service; /health has the reason
        message = "Depth estimation model is not available"
        return NotAvailable(message, retry_after=_RETRY_AFTER_SECONDS)
    message = f"{spec.key}: {reason}"
    return NotAvailable(message, title="Model not available", retry_after=_RETRY_AFTER_SECONDS)
