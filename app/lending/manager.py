# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The model manager: loads each network once in this process and lends it to requests."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress

from app.engines.base import DoesNotFit, LoadError, NotOnDisk
from app.engines.devices import Device, resolve
from app.host import memory
from app.host.faults import fault
from app.hub.downloads import Downloads
from app.hub.store import Checkpoint
from app.lending.entry import (
    Entry,
    ModelStatus,
    NetworkStatus,
    Wanted,
    embeds_images_only,
    not_available,
    with_download,
)
from app.lending.loaded import LoadedNetwork
from app.lending.loader import Loader
from app.lending.registry import files_of, networks_of
from app.models.base import Family, NetworkId, describe_checkpoint
from config.models import ModelSpec

log = logging.getLogger("twinlens.models")

# For this long after a failed load, requests get its reason immediately, without a new attempt.
_REMEMBER_FAILURE_SECONDS = 30.0
# How often a request that waits for a load checks whether it was cancelled.
_POLL_SECONDS = 1.0
# Memory that inference needs in addition to the weights; measured by benchmarks/peak.py.
_WORKING_BYTES = 256 * 2**20
# The longest wait for other workers to free their memory on a shared GPU.
_EVICTION_SECONDS = 3.0


class Manager:
    """The networks of one process.

    In the master, ``preload`` maps checkpoints into host memory. After the fork the workers share
    these memory pages, and each moves a network to its device when it is first used.
    """

    def __init__(self, networks: Iterable[NetworkId], downloads: Downloads, loader: Loader) -> None:
        self._entries = {id: Entry(id) for id in networks}
        self._downloads = downloads
        self._loader = loader
        self._device: Device | None = None
        self._lock = threading.Lock()
        #: number of this worker, from 0; with several GPUs it decides which one is used
        self.worker = 0
        #: called when the state of a network has changed
        self.on_change: Callable[[], None] = lambda: None
        #: called when the device is lost for this process
        self.on_lost: Callable[[], None] = lambda: None
        #: called with each network that was unloaded to free memory for another one
        self.on_evict: Callable[[NetworkId], object] = lambda _: None
        #: makes a context around each load, to notice loads that crash the process; the context may
        #: raise LoadError instead of permitting the load
        self.guard: Callable[[NetworkId], AbstractContextManager[None]] = lambda _: nullcontext()

    # -- use -----------------------------------------------------------------------------------

    def preload(self, id: NetworkId) -> None:
        """Load a network into host memory before the fork, if its checkpoint is on disk.

        A failure is stored for later requests, not raised.
        """
        entry = self._entries[id]
        checkpoint = self._checkpoint(id.spec)
        if checkpoint is not None and entry.loaded is None:
            # ``recording_failure`` logs a LoadError, and the status shows it.
            with entry.lock, suppress(LoadError), entry.recording_failure():
                self._downloads.check(id.spec, files_of(id.spec), checkpoint)
                entry.loaded = self._loader.preload(id, checkpoint)

    def adopt(self, other: Manager) -> None:
        """At a reload, before the fork, take over the networks that the old manager has mapped."""
        if self._loader != other._loader:
            return
        for id, entry in self._entries.items():
            before = other._entries.get(id)
            if before is None or before.loaded is None:
                continue
            same = before.loaded.family.checkpoint == self._checkpoint(id.spec)
            if same and before.loaded.network.files.holds():
                entry.loaded = before.loaded

    def check(self, id: NetworkId) -> None:
        """Refuse a request immediately, before it waits, if its network cannot be used now.

        Raises:
            NotAvailable: it is not on disk (this starts its download), or it failed to load a short
                while ago.
            BadRequest: the model's checkpoint has no such network.
        """
        entry, spec = self._entries[id], id.spec
        if entry.device is not None:
            return
        if entry.failure and time.monotonic() - entry.failed_at < _REMEMBER_FAILURE_SECONDS:
            raise not_available(spec, entry.failure)
        if not self.on_disk(spec):
            try:
                self._downloads.request(spec, files_of(spec))
            except OSError as error:
                reason = f"its download cannot be asked for ({error.strerror} in shared memory)"
                raise not_available(spec, LoadError(reason)) from error
            raise not_available(spec, self._downloads.not_on_disk_error(spec))
        family = self.family(spec)
        if family is not None and id.name not in family.networks():
            raise embeds_images_only(spec)

    @contextmanager
    def lease(
        self, id: NetworkId, check_cancelled: Callable[[], None] = lambda: None
    ) -> Iterator[LoadedNetwork]:
        """Lend a network for the ``with`` block, loading it first if necessary.

        All callers that come during the load wait for that same load.

        Args:
            id: the network.
            check_cancelled: called about once a second during the load; it may raise to end the
                wait.

        Raises:
            NotAvailable: it is not on disk (this starts its download), or it cannot be loaded.
        """
        entry = self._entries[id]
        loaded = entry.loaded if entry.device is not None else None
        while loaded is None:
            loading = self._load_in_background(entry)
            with suppress(TimeoutError):
                loaded = loading.result(_POLL_SECONDS)
            check_cancelled()
        self._count(entry, 1)
        try:
            yield loaded  # the borrower's reference keeps it alive even if it is unloaded meanwhile
        finally:
            self._count(entry, -1)

    # -- management ----------------------------------------------------------------------------

    def load(self, id: NetworkId, wanted: Wanted = "auto") -> Device:
        """Load a network whose model is on disk; this is cheap if it is already loaded.

        Args:
            id: the network.
            wanted: "auto" leaves a loaded network on its device; "gpu" means the CPU on a machine
                without a GPU.

        Returns:
            The device that it is loaded on.

        Raises:
            LoadError: it cannot be loaded; the message gives the reason.
        """
        entry = self._entries[id]
        with entry.lock:
            with entry.recording_failure():
                target = entry.device or self.device() if wanted == "auto" else self._target(wanted)
            if entry.loaded is None or entry.device != target:
                self._load_on(entry, target)
        return target

    def release_idle_memory(self) -> None:
        """Free memory that networks need only while they run. Call it when this process is idle."""
        for entry in self._entries.values():
            loaded = entry.loaded if entry.device is not None else None
            if loaded is not None:
                loaded.network.release_idle_memory()
        memory.trim()

    def unload(self, id: NetworkId) -> None:
        """Unload a network; requests that hold a lease can still finish with it. Never raises."""
        entry = self._entries[id]
        with entry.lock:
            entry.loaded, entry.device, entry.failure = None, None, None
        memory.clean_up()
        self.on_change()

    # -- state ---------------------------------------------------------------------------------

    def loaded(self, id: NetworkId) -> LoadedNetwork | None:
        """The network if it is on its device now; it is not lent, so do not run it."""
        entry = self._entries[id]
        return entry.loaded if entry.device is not None else None

    def network_status(self, id: NetworkId) -> NetworkStatus:
        """The status of a network in this process, without waiting for a load or reading files."""
        return self._entries[id].status()

    def describe(self, spec: ModelSpec, networks: dict[str, NetworkStatus]) -> ModelStatus:
        """The status of a model, made from the given statuses of its networks and its download."""
        on_disk = self._checkpoint(spec) is not None
        download = None if on_disk else self._downloads.state(spec)
        first, *others = networks_of(spec)
        status = with_download(networks[first.name], download)
        rest = {id.name: with_download(networks[id.name], download).state for id in others}
        if status.state == "downloading" and download is not None and download.total_bytes:
            done, total = download.downloaded_bytes, download.total_bytes
            return ModelStatus(spec, on_disk, status, rest, done, total)
        return ModelStatus(spec, on_disk, status, rest)

    def status(self, spec: ModelSpec) -> ModelStatus:
        """The status of a model in this process; never waits for a load."""
        networks = {id.name: self.network_status(id) for id in networks_of(spec)}
        return self.describe(spec, networks)

    def family(self, spec: ModelSpec) -> Family | None:
        """The model's family with its checkpoint; None if that is not on disk or not supported."""
        checkpoint = self._checkpoint(spec)
        if checkpoint is None:
            return None
        with suppress(LoadError):
            return describe_checkpoint(spec, checkpoint)
        return None

    def is_loaded(self, id: NetworkId) -> bool:
        """Whether the network is on a device of this process."""
        return self._entries[id].device is not None

    def has_gpu(self) -> bool:
        """Whether this process can use a GPU. Raises LoadError."""
        return self._target("gpu").is_gpu

    def on_disk(self, spec: ModelSpec) -> bool:
        """Whether the checkpoint is complete on disk."""
        return self._checkpoint(spec) is not None

    def download_size(self, spec: ModelSpec) -> str | None:
        """The size of the model's download, such as "599 MB"; None if it is not known."""
        return self._downloads.size(spec, files_of(spec))

    def known_device(self) -> Device | None:
        """The device, or None if it has not been chosen yet; creates no CUDA context."""
        return self._device

    def device(self) -> Device:
        """The device of this process. Call it only after the fork. Raises LoadError."""
        if self._device is None:
            self._device = resolve(self._loader.device, self.worker)
            log.info("using device %s (%s)", self._device.type, self._device.name)
        return self._device

    # -- internal ------------------------------------------------------------------------------

    def _checkpoint(self, spec: ModelSpec) -> Checkpoint | None:
        return self._downloads.find_checkpoint(spec, files_of(spec))

    def _load_in_background(self, entry: Entry) -> Future[LoadedNetwork]:
        """Return the running load of a network, or start one in a new thread."""
        with self._lock:
            if entry.pending_load is None:
                entry.pending_load = Future()
                threading.Thread(None, self._run_load, "load", (entry,), daemon=True).start()
            return entry.pending_load

    def _run_load(self, entry: Entry) -> None:
        """Load a network if necessary, and give it, or the error, to the requests that wait."""
        try:
            with entry.lock:
                if entry.loaded is None or entry.device is None:
                    self.check(entry.id)
                    with entry.recording_failure():
                        device = self.device()
                    self._load_on(entry, device)
                assert entry.loaded is not None
                self._end_load(entry).set_result(entry.loaded)
        except Exception as error:
            told = not_available(entry.id.spec, error) if isinstance(error, LoadError) else error
            self._end_load(entry).set_exception(told)

    def _end_load(self, entry: Entry) -> Future[LoadedNetwork]:
        """Remove the ended load from the entry, and return its future to set the outcome.

        Later requests must not wait for an ended load, and its future must not keep the network in
        memory.
        """
        with self._lock:
            result, entry.pending_load = entry.pending_load, None
        assert result is not None
        return result

    def _target(self, wanted: Wanted) -> Device:
        if wanted == "cpu":
            return resolve("cpu")
        own = self.device()
        if own.is_gpu or wanted == "auto":
            return own
        return resolve(self._loader.gpu_setting(), self.worker)

    def _load_on(self, entry: Entry, target: Device) -> None:
        """Load a network onto a device and warm it up; the caller holds its lock.

        Raises LoadError.
        """
        started = time.monotonic()
        id, spec = entry.id, entry.id.spec
        entry.loading = True
        self.on_change()
        try:
            with entry.recording_failure():
                checkpoint = self._checkpoint(spec)
                if checkpoint is None:
                    raise NotOnDisk("its weights are not on disk")
                self._downloads.check(spec, files_of(spec), checkpoint)
                # A network that is only mapped in host memory, perhaps by the master, is moved to
                # the device. It is loaded anew if it is in use on another device, or if its files
                # have changed since they were mapped.
                loaded = entry.loaded if entry.device is None else None
                if loaded is not None and not loaded.network.files.holds():
                    log.warning("%s: its files have changed; checking them", id.label)
                    entry.loaded = loaded = None
                    self._downloads.verify(spec, files_of(spec), checkpoint)
                if loaded is not None and (
                    loaded.family.checkpoint != checkpoint
                    or not self._loader.suits(loaded.network, target.type)
                ):
                    loaded = None
                need = self._loader.size(id, checkpoint)
                self._make_room(need, target, entry)
                with self.guard(id):
                    if loaded is None:
                        loaded = self._loader.load(id, checkpoint, target.type)
                    try:
                        loaded.network.to_device(target.type)
                        loaded.warm_up()
                        loaded.network.release_idle_memory()
                    except (RuntimeError, MemoryError) as error:
                        entry.loaded = loaded = None  # it may be partly on the device
                        if fault(error) == "lost":
                            self.on_lost()
                        raise LoadError("the device refused the model") from error
        finally:
            entry.loading = False
            self.on_change()
        entry.loaded, entry.device, entry.used_at = loaded, target, time.monotonic()
        self.on_change()
        elapsed = time.monotonic() - started
        network = loaded.network
        how = f"{network.engine}, {network.precision}, {loaded.weights} weights"
        log.info("%s is warm on %s (%s) after %.2f s", id.label, target.type, how, elapsed)

    def _count(self, entry: Entry, leases: int) -> None:
        with self._lock:
            entry.leases += leases
            entry.used_at = time.monotonic()

    def _make_room(self, weights: int, device: Device, requested: Entry) -> None:
        """Unload idle networks from a device, the least recently used first, until another fits.

        Args:
            weights: bytes of the network that is to be loaded.
            device: where it is to be loaded.
            requested: the entry of that network, which stays as it is.

        Raises:
            DoesNotFit: it does not fit even without the idle networks.
        """
        need = weights + _WORKING_BYTES
        evicted = False
        others = [each for each in self._entries.values() if each is not requested]
        here = [entry for entry in others if entry.device == device]
        for entry in sorted(here, key=lambda entry: entry.used_at):
            if memory.free(device.type) >= need:
                return
            # A network whose lock is held is being loaded or unloaded: skip it.
            if entry.leases == 0 and entry.lock.acquire(blocking=False):
                entry.loaded, entry.device = None, None
                entry.lock.release()
                log.warning("%s is unloaded: another model needs its memory", entry.id.label)
                memory.clean_up()
                self.on_evict(entry.id)
                evicted = True
        # Other workers that share this GPU unload the same networks a moment later: wait for that.
        end = time.monotonic() + (_EVICTION_SECONDS if evicted and device.is_gpu else 0)
        while (free := memory.free(device.type)) < need and time.monotonic() < end:
            time.sleep(0.05)
        if free < need:
            message = f"it needs {need // 2**20} MB of memory and {free // 2**20} MB are free"
            raise DoesNotFit(message)
