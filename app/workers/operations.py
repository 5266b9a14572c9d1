# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Operations on models for the API: load, unload, download, delete, and the current depth model.

Each acts on all workers of the service, whichever worker gets the request.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from app.engines.base import LoadError
from app.engines.devices import Device
from app.errors import Busy, NotAvailable, OperationFailed
from app.hub.downloads import DownloadFailed, Downloads
from app.lending.entry import Wanted
from app.lending.manager import Manager
from app.lending.registry import Registry, files_of, networks_of
from app.workers.orders import CheckCancelled, Workers
from config.models import ModelSpec
from config.threads import MAX_DOWNLOAD_WAITS

_FULL_RETRY_SECONDS = 30


@contextmanager
def _shared_memory() -> Iterator[None]:
    """Raise NotAvailable if /dev/shm, where the processes share files, is full."""
    try:
        yield
    except OSError as error:
        raise NotAvailable(
            f"The other workers cannot be informed: {error.strerror} in shared memory",
            title="No room",
            retry_after=_FULL_RETRY_SECONDS,
        ) from error


class Operations:
    """The operations on models; repeating one that is already done succeeds.

    Each raises OperationFailed with the reason if it fails, or Busy.

    They call ``check_cancelled`` repeatedly while they wait; it may raise to end the wait.
    """

    def __init__(
        self,
        registry: Registry,
        manager: Manager,
        workers: Workers,
        downloads: Downloads,
        default_depth: str,
    ) -> None:
        self._registry = registry
        self._manager = manager
        self._workers = workers
        self._downloads = downloads
        self._default_depth = default_depth
        self._download_waits = threading.Semaphore(MAX_DOWNLOAD_WAITS)

    def current_depth_model(self) -> ModelSpec:
        """The depth model for requests that name none: the one that was loaded last."""
        key = self._workers.chosen() or self._default_depth
        known = {spec.key: spec for spec in self._registry.specs("depth")}
        # The model that was loaded last may be missing from the table after a reload.
        return known.get(key) or self._registry.default("depth")

    def load(self, spec: ModelSpec, wanted: Wanted, check_cancelled: CheckCancelled) -> Device:
        """Load a model in every worker, after downloading it if necessary.

        A depth model becomes the current one; the depth model that an earlier load had made current
        is unloaded in every worker. This is called before each depth request, so it is cheap if the
        model is already loaded.

        Returns:
            The device that it is loaded on.
        """
        self.download(spec, check_cancelled)
        try:
            device = self._workers.load(networks_of(spec)[0], wanted, check_cancelled)
            if spec.task == "depth" and self._workers.chosen() != spec.key:
                self._workers.choose(spec, wanted, check_cancelled)
        except LoadError as error:
            raise OperationFailed(f"{spec.key}: {error}", title="Load failed") from error
        return device

    def unload(self, spec: ModelSpec, check_cancelled: CheckCancelled) -> None:
        """Unload a model in every worker. If it was current, DEPTH_MODEL becomes current again."""
        for network in networks_of(spec):
            self._workers.unload(network, check_cancelled)
        self._workers.forget_choice(spec.key)

    def download(self, spec: ModelSpec, check_cancelled: CheckCancelled) -> None:
        """Download a model if it is not on disk, and wait until it is."""
        if self._manager.on_disk(spec):
            return
        if not self._download_waits.acquire(blocking=False):
            raise Busy(f"{MAX_DOWNLOAD_WAITS} requests wait for downloads already", retry_after=30)
        try:
            with _shared_memory():
                self._downloads.wait(spec, files_of(spec), check_cancelled)
        except DownloadFailed as error:
            raise OperationFailed(f"{spec.key}: {error}", title="Download failed") from error
        finally:
            self._download_waits.release()

    def delete(self, spec: ModelSpec, check_cancelled: CheckCancelled) -> None:
        """Unload a model in every worker and delete its files."""
        if not spec.is_downloadable:
            where = "a part of the program" if spec.is_built_in else "in a folder of its own"
            raise OperationFailed(
                f"{spec.key} is {where} and cannot be deleted here; unload it instead",
                title="Delete failed",
            )
        refused = OperationFailed(
            f"{spec.key} is being downloaded; try again when that is done", title="Delete failed"
        )
        if self._downloads.is_running(spec):  # a refused request must not unload it either
            raise refused
        self.unload(spec, check_cancelled)
        if not self._downloads.cancel(spec):
            raise refused
        try:
            self._downloads.delete(spec)
        except OSError as error:
            raise OperationFailed(
                f"{spec.key}: its files cannot be deleted ({error.strerror})", title="Delete failed"
            ) from error
