# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The model manager: each network of a model is loaded once and lent to requests."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress

from app.engines.base import LoadError
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
    not_available,
    with_download,
)
from app.lending.eviction import make_room
from app.lending.loaded import LoadedNetwork
from app.lending.loader import Loader
from app.lending.registry import files_of, networks_of
from app.models.base import Family, NetworkId, describe_checkpoint
from config.models import ModelSpec

log = logging.getLogger("twinlens.models")

# After a failed load, requests get the reason at once for this long instead of trying again.
_REMEMBER_FAILURE_SECONDS = 30.0
_POLL_SECONDS = 1.0


class Manager:
    """The networks of one process.

    In the master ``preload`` maps checkpoints into host memory; after the fork the workers share
    those pages and move them to their device on first use.
    """

    def __init__(self, networks: Iterable[NetworkId], downloads: Downloads, loader: Loader) -> None:
        self._entries = {id: Entry(id) for id in networks}
        self._downloads = downloads
        self._loader = loader
        self._device: Device | None = None
        self._lock = threading.Lock()
        #: which of the workers this is: they are spread over several devices
        self.worker = 0
        #: told when the state of a network has changed
        self.on_change: Callable[[], None] = lambda: None
        #: told that the device is lost for this process; which network had to go for another one
        self.on_lost: Callable[[], None] = lambda: None
        self.on_evict: Callable[[NetworkId], object] = lambda _: None
        #: around each load, which may end the process; it may raise LoadError
        self.guard: Callable[[NetworkId], AbstractContextManager[None]] = lambda _: nullcontext()

    # -- use -----------------------------------------------------------------------------------

    def preload(self, id: NetworkId) -> None:
        """Before the fork: load to host memory what is on disk; failures are remembered."""
        entry = self._entries[id]
        checkpoint = self._checkpoint(id.spec)
        if checkpoint is not None and entry.loaded is None:
            # A failure is logged, and shown by the status.
            with entry.lock, suppress(LoadError), entry.recording_failure():
                self._downloads.check(id.spec, checkpoint)
                entry.loaded = self._loader.preload(id, checkpoint)

    def adopt(self, other: Manager) -> None:
        """Before the fork, at a reload: take over what the one before has mapped already."""
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
        """Whether a lease can be had, without waiting: an answer that is no is given at once.

        Raises:
            NotAvailable: it is not on disk (its download has been started) or failed to load.
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
            raise not_available(spec, self._downloads.absent(spec))

    @contextmanager
    def lease(
        self, id: NetworkId, check_cancelled: Callable[[], None] = lambda: None
    ) -> Iterator[LoadedNetwork]:
        """Lend a network, loading it first if need be. Callers that come meanwhile wait for it.

        Args:
            id: of which model, and which one.
            look: called now and then while it is being loaded; it may raise to end the wait.

        Raises:
            NotAvailable: it is not on disk (its download has been started) or cannot be loaded.
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
            yield loaded  # an unload meanwhile takes nothing from under its user
        finally:
            self._count(entry, -1)

    # -- management ----------------------------------------------------------------------------

    def load(self, id: NetworkId, wanted: Wanted = "auto") -> Device:
        """Load a network whose model is on disk, and say on which device; cheap when it is loaded.

        "auto" leaves a loaded network where it is; "gpu" means the CPU where there is no other.

        Raises:
            LoadError: the message says why.
        """
        entry = self._entries[id]
        with entry.lock:
            with entry.recording_failure():
                target = entry.device or self.device() if wanted == "auto" else self._target(wanted)
            if entry.loaded is None or entry.device != target:
                self._load_on(entry, target)
        return target

    def release_idle_memory(self) -> None:
        """When this process has nothing to do: give back what networks need only while they run."""
        for entry in self._entries.values():
            loaded = entry.loaded if entry.device is not None else None
            if loaded is not None:
                loaded.network.release_idle_memory()
        memory.trim()

    def unload(self, id: NetworkId) -> None:
        """Give its memory back; requests that hold a lease finish with it. Never fails."""
        entry = self._entries[id]
        with entry.lock:
            entry.loaded, entry.device, entry.failure = None, None, None
        memory.clean_up()
        self.on_change()

    # -- state ---------------------------------------------------------------------------------

    def network_status(self, id: NetworkId) -> NetworkStatus:
        """What is known of a network in this process; never waits for a load, nor asks the disk."""
        return self._entries[id].status()

    def describe(self, spec: ModelSpec, networks: dict[str, NetworkStatus]) -> ModelStatus:
        """What is known of a model, given the states of its networks; also of its download."""
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
        """What is known of a model in this process; never waits for a load."""
        networks = {id.name: self.network_status(id) for id in networks_of(spec)}
        return self.describe(spec, networks)

    def family(self, spec: ModelSpec) -> Family | None:
        """What the checkpoint says of itself; None where it is not on disk or cannot serve."""
        checkpoint = self._checkpoint(spec)
        if checkpoint is None:
            return None
        with suppress(LoadError):
            return describe_checkpoint(spec, checkpoint)
        return None

    def is_loaded(self, id: NetworkId) -> bool:
        """Whether it is on a device of this process."""
        return self._entries[id].device is not None

    def has_gpu(self) -> bool:
        """Whether "gpu" means anything else than the CPU here. Raises LoadError."""
        return self._target("gpu").is_gpu

    def on_disk(self, spec: ModelSpec) -> bool:
        """Whether the checkpoint is complete on disk."""
        return self._checkpoint(spec) is not None

    def known_device(self) -> Device | None:
        """The device, if this process has used it already; asking creates no context."""
        return self._device

    def device(self) -> Device:
        """The device of this process; only after the fork. Raises LoadError."""
        if self._device is None:
            self._device = resolve(self._loader.device, self.worker)
            log.info("using device %s (%s)", self._device.type, self._device.name)
        return self._device

    # -- inside; the caller holds the entry's lock ---------------------------------------------

    def _checkpoint(self, spec: ModelSpec) -> Checkpoint | None:
        return self._downloads.find(spec, files_of(spec))

    def _load_in_background(self, entry: Entry) -> Future[LoadedNetwork]:
        """The load that is under way, or a new one, in a thread that nobody has to wait for."""
        with self._lock:
            if entry.pending_load is None:
                entry.pending_load = Future()
                threading.Thread(None, self._run_load, "load", (entry,), daemon=True).start()
            return entry.pending_load

    def _run_load(self, entry: Entry) -> None:
        """Set the network, on some device, as the result of the load under way."""
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
        """The load that ends now: who comes later must not find it, nor may it keep the network."""
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
        """Load and warm the network on a device. Raises LoadError."""
        started = time.monotonic()
        id, spec = entry.id, entry.id.spec
        entry.loading = True
        self.on_change()
        try:
            with entry.recording_failure():
                checkpoint = self._checkpoint(spec)
                if checkpoint is None:
                    raise LoadError("its weights are not on disk")
                self._downloads.check(spec, checkpoint)
                # A host copy can be moved as it is; one that is in use on a device cannot, nor
                # one whose file was replaced or changed since it was mapped, in the master perhaps.
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
                others = [each for each in self._entries.values() if each is not entry]
                make_room(need, target, others, self.on_evict)
                with self.guard(id):
                    if loaded is None:
                        loaded = self._loader.load(id, checkpoint, target.type)
                    try:
                        loaded.network.to_device(target.type)
                        loaded.warm_up()
                        loaded.network.release_idle_memory()
                    except (RuntimeError, MemoryError) as error:
                        entry.loaded = loaded = None  # part of it may be on the device
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
