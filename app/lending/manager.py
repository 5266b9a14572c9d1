# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The model manager: each model is loaded once and lent out."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress

from app.engines.base import LoadError
from app.engines.devices import Device, fault, resolve
from app.host import memory
from app.hub.downloads import Downloads
from app.hub.store import Checkpoint
from app.lending.entry import Entry, ModelStatus, Wanted, not_available
from app.lending.eviction import make_room
from app.lending.loader import Loader
from app.lending.registry import model_class
from app.models.base import Model
from config.models import ModelSpec

log = logging.getLogger("twinlens.models")

# After a failed load, requests get the reason at once for this long instead of trying again.
_REMEMBER_FAILURE_SECONDS = 30.0
_LOOK_SECONDS = 1.0


class Manager:
    """The models of one process.

    In the master ``preload`` maps checkpoints into host memory; after the fork the workers share
    those pages and move them to their device on first use.
    """

    def __init__(self, specs: Iterable[ModelSpec], downloads: Downloads, loader: Loader) -> None:
        self._entries = {spec.key: Entry(spec) for spec in specs}
        self._downloads = downloads
        self._loader = loader
        self._device: Device | None = None
        self._counting = threading.Lock()
        #: which of the workers this is: they are spread over several devices
        self.worker = 0
        #: told when the state of a model has changed
        self.on_change: Callable[[], None] = lambda: None
        #: told that the device is lost for this process; which model had to go for another one
        self.on_lost: Callable[[], None] = lambda: None
        self.on_evict: Callable[[ModelSpec], object] = lambda _: None
        #: around each load, which may end the process; it may raise LoadError
        self.guard: Callable[[ModelSpec], AbstractContextManager[None]] = lambda _: nullcontext()

    # -- use -----------------------------------------------------------------------------------

    def preload(self, spec: ModelSpec) -> None:
        """Before the fork: load to host memory what is on disk; failures are remembered."""
        entry = self._entries[spec.key]
        checkpoint = self._find(spec)
        if checkpoint is not None and entry.model is None:
            # A failure is logged, and shown by the status.
            with entry.lock, suppress(LoadError), entry.remembering():
                self._downloads.check(spec, checkpoint)
                entry.model = self._loader.preload(spec, checkpoint)

    def adopt(self, other: Manager) -> None:
        """Before the fork, at a reload: take over what the one before has mapped already."""
        if not self._loader.makes_the_same_as(other._loader):
            return
        for key, entry in self._entries.items():
            before = other._entries.get(key)
            if before is None or before.spec != entry.spec or before.model is None:
                continue
            same = before.model.checkpoint == self._find(entry.spec)
            if same and before.model.files.holds():
                entry.model = before.model

    def check(self, spec: ModelSpec) -> None:
        """Whether a lease can be had, without waiting: an answer that is no is given at once.

        Raises:
            NotAvailable: it is not on disk (its download has been started) or failed to load.
        """
        entry = self._entries[spec.key]
        if entry.device is not None:
            return
        if entry.failure and time.monotonic() - entry.failed_at < _REMEMBER_FAILURE_SECONDS:
            raise not_available(spec, entry.failure)
        if not self.on_disk(spec):
            try:
                self._downloads.request(spec, model_class(spec).FILES)
            except OSError as error:
                reason = f"its download cannot be asked for ({error.strerror} in shared memory)"
                raise not_available(spec, LoadError(reason)) from error
            raise not_available(spec, self._downloads.absent(spec))

    @contextmanager
    def lease(self, spec: ModelSpec, look: Callable[[], None] = lambda: None) -> Iterator[Model]:
        """Lend the model, loading it first if need be. Callers that come meanwhile wait for it.

        Args:
            spec: the model.
            look: called now and then while it is being loaded; it may raise to end the wait.

        Raises:
            NotAvailable: it is not on disk (its download has been started) or cannot be loaded.
        """
        entry = self._entries[spec.key]
        model = entry.model if entry.device is not None else None
        while model is None:
            loading = self._load_in_background(entry)
            with suppress(TimeoutError):
                model = loading.result(_LOOK_SECONDS)
            look()
        self._count(entry, 1)
        try:
            yield model  # an unload meanwhile takes nothing from under its user
        finally:
            self._count(entry, -1)

    # -- management ----------------------------------------------------------------------------

    def load(self, spec: ModelSpec, wanted: Wanted = "auto") -> Device:
        """Load a model that is on disk, and say on which device; cheap when that is done already.

        "auto" leaves a loaded model where it is; "gpu" means the CPU where there is no other.

        Raises:
            LoadError: the message says why.
        """
        entry = self._entries[spec.key]
        with entry.lock:
            with entry.remembering():
                target = entry.device or self.device() if wanted == "auto" else self._target(wanted)
            if entry.model is None or entry.device != target:
                self._bring(entry, target)
        return target

    def settle(self) -> None:
        """When this process has nothing to do: give back what models need only while they run."""
        for entry in self._entries.values():
            model = entry.model if entry.device is not None else None
            if model is not None:
                model.network.settle()
        memory.trim()

    def unload(self, spec: ModelSpec) -> None:
        """Give its memory back; requests that hold a lease finish with it. Never fails."""
        entry = self._entries[spec.key]
        with entry.lock:
            entry.model, entry.device, entry.failure = None, None, None
        memory.clean_up()
        self.on_change()

    # -- state ---------------------------------------------------------------------------------

    def status(self, spec: ModelSpec) -> ModelStatus:
        """What is known of a model; never waits for a load."""
        entry = self._entries[spec.key]
        on_disk = self._find(spec) is not None
        return entry.status(on_disk, None if on_disk else self._downloads.state(spec))

    def is_loaded(self, spec: ModelSpec) -> bool:
        """Whether it is on a device of this process."""
        return self._entries[spec.key].device is not None

    def use(self, spec: ModelSpec) -> tuple[bool, float]:
        """Whether a request holds it, and when one last did; monotonic seconds."""
        entry = self._entries[spec.key]
        return entry.leases > 0, entry.used_at

    def has_gpu(self) -> bool:
        """Whether "gpu" means anything else than the CPU here. Raises LoadError."""
        return self._target("gpu").is_gpu

    def on_disk(self, spec: ModelSpec) -> bool:
        """Whether the checkpoint is complete on disk."""
        return self._find(spec) is not None

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

    def _find(self, spec: ModelSpec) -> Checkpoint | None:
        return self._downloads.find(spec, model_class(spec).FILES)

    def _load_in_background(self, entry: Entry) -> Future[Model]:
        """The load that is under way, or a new one, in a thread that nobody has to wait for."""
        with self._counting:
            if entry.under_way is None:
                entry.under_way = Future()
                threading.Thread(None, self._ready, "load", (entry,), daemon=True).start()
            return entry.under_way

    def _ready(self, entry: Entry) -> None:
        """Set the model, on some device, as the result of the load under way."""
        try:
            with entry.lock:
                if entry.model is None or entry.device is None:
                    self.check(entry.spec)
                    with entry.remembering():
                        device = self.device()
                    self._bring(entry, device)
                assert entry.model is not None
                self._settle(entry).set_result(entry.model)
        except Exception as error:
            told = not_available(entry.spec, error) if isinstance(error, LoadError) else error
            self._settle(entry).set_exception(told)

    def _settle(self, entry: Entry) -> Future[Model]:
        """The load that ends now: who comes later must not find it, nor may it keep the model."""
        with self._counting:
            result, entry.under_way = entry.under_way, None
        assert result is not None
        return result

    def _target(self, wanted: Wanted) -> Device:
        if wanted == "cpu":
            return resolve("cpu")
        own = self.device()
        if own.is_gpu or wanted == "auto":
            return own
        return resolve(self._loader.gpu_setting(), self.worker)

    def _bring(self, entry: Entry, target: Device) -> Model:
        """Load and warm the model on a device. Raises LoadError."""
        started = time.monotonic()
        entry.loading = True
        self.on_change()
        try:
            with entry.remembering():
                checkpoint = self._find(entry.spec)
                if checkpoint is None:
                    raise LoadError("its weights are not on disk")
                self._downloads.check(entry.spec, checkpoint)
                # A host copy can be moved as it is; one that is in use on a device cannot, nor
                # one whose file was replaced or changed since it was mapped, in the master perhaps.
                model = entry.model if entry.device is None else None
                if model is not None and not model.files.holds():
                    log.warning("%s: its files have changed; checking them", entry.spec.key)
                    entry.model = model = None
                    self._downloads.verify(entry.spec, model_class(entry.spec).FILES, checkpoint)
                if model is not None and (
                    model.checkpoint != checkpoint or not self._loader.suits(model, target.type)
                ):
                    model = None
                need = model_class(entry.spec).size(checkpoint)
                others = [each for each in self._entries.values() if each is not entry]
                make_room(need, target, others, self.on_evict)
                with self.guard(entry.spec):
                    if model is None:
                        model = self._loader.load(entry.spec, checkpoint, target.type)
                    try:
                        model.network.to_device(target.type)
                        model.warm_up()
                        model.network.settle()
                    except (RuntimeError, MemoryError) as error:
                        entry.model = model = None  # part of it may be on the device
                        if fault(error) == "lost":
                            self.on_lost()
                        raise LoadError("the device refused the model") from error
        finally:
            entry.loading = False
            self.on_change()
        entry.model, entry.device, entry.used_at = model, target, time.monotonic()
        self.on_change()
        elapsed = time.monotonic() - started
        how = f"{model.network.engine}, {model.network.precision}, {model.weights} weights"
        log.info("%s is warm on %s (%s) after %.2f s", entry.spec.key, target.type, how, elapsed)
        return model

    def _count(self, entry: Entry, leases: int) -> None:
        with self._counting:
            entry.leases += leases
            entry.used_at = time.monotonic()
