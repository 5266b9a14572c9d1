# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The runtime: owns everything behind the HTTP routes.

Life of a process: ``warm()`` in the master before the fork, ``after_fork()`` and ``start()`` in
each worker, ``stop()`` when it is to end, ``close()`` at the end.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from contextlib import suppress
from zlib import crc32

import cv2

from app.decoding.pool import Decoders
from app.engines.base import LoadError
from app.engines.devices import Device
from app.errors import NotAvailable
from app.host import lifeline, memory
from app.host.helpers import Helpers
from app.host.shared_state import SharedState
from app.hub.downloads import Downloads
from app.lending.loader import Loader
from app.lending.manager import Manager
from app.lending.registry import Registry, networks_of
from app.queueing.device_threads import DeviceThreads
from app.queueing.waiting_room import WaitingRoom
from app.remote.fetch import Fetcher
from app.tasks.depth import DepthTask
from app.tasks.embedding import EmbeddingTask
from app.tasks.turns import Turns
from app.workers.crashes import Crashes
from app.workers.housekeeping import Housekeeping
from app.workers.metrics import Metrics
from app.workers.operations import Operations
from app.workers.orders import Workers
from app.workers.reports import DEVICE_LOST
from config.models import ModelSpec
from config.settings import Settings

log = logging.getLogger("twinlens.runtime")

_RETRY_AFTER_SECONDS = 5
# At shutdown the answers must leave before the master's patience ends.
_ANSWER_SECONDS = 1.0
_FOLLOW_SECONDS = 1.0


class Runtime:
    """Owns what is shared by all requests, and the life of a process."""

    def __init__(self, settings: Settings, before: Runtime | None = None) -> None:
        """Make the parts; nothing is loaded yet.

        Args:
            settings: in force from now on.
            before: at a reload, the runtime that this one replaces in the master. What the
                processes share is taken over, since its workers still finish their requests.
        """
        self.settings = settings
        self.shared: SharedState = before.shared if before else SharedState()
        self.metrics: Metrics = before.metrics if before else Metrics(self.shared)
        self.registry = Registry(settings)
        self._before = before
        downloads = Downloads(
            settings.hf_hub_cache, self.shared.folder, settings.hf_hub_offline, self.shared.life
        )
        networks = self.registry.networks()
        self.loader = Loader.from_settings(settings, self._threads(), self.shared.life[0])
        self.manager = Manager(networks, downloads, self.loader)
        self.workers = Workers(self.shared, self.manager, networks)
        self.reports = self.workers.reports
        self.crashes = Crashes(self.shared.folder)
        self.operations = Operations(
            self.registry, self.manager, self.workers, downloads, settings.depth_model
        )
        self.waiting_room = WaitingRoom(
            self.shared,
            settings.image_embedder_concurrency,
            settings.web_concurrency,
            settings.image_embedder_max_queue,
            settings.image_embedder_max_wait_seconds,
            settings.inference_timeout_seconds,
        )
        self._device_threads = DeviceThreads(
            self.waiting_room, settings.image_embedder_concurrency, self._lost
        )
        self._device_threads.on_run = self.metrics.ran
        self.waiting_room.on_hang = self._hung
        self.helpers = Helpers()
        self.fetcher = Fetcher(
            enabled=settings.allow_remote_image_urls,
            hosts=settings.allowed_remote_image_hosts,
            private_networks=settings.allowed_private_networks,
            max_bytes=settings.max_image_bytes,
            seconds=settings.request_timeout_seconds,
        )
        self.decoders = Decoders(
            self._threads(), settings.max_image_pixels, settings.decode_timeout_seconds
        )
        self._turns = Turns(
            self.waiting_room,
            self.manager,
            self.workers,
            self.decoders,
            self._threads(),
            settings.exact_decode,
        )
        self.depth = DepthTask(self._turns, settings.max_image_pixels)
        self.embedding = EmbeddingTask(self._turns)
        self.manager.on_lost = self._turns.on_lost = self._lost
        self._background: list[threading.Thread] = []
        self._closing = threading.Event()
        self._refusal = ""
        self._retired: list[ModelSpec] = []

    # -- life ----------------------------------------------------------------------------------

    def warm(self) -> None:
        """In the master: import the engines, map the default models' weights."""
        self.loader.import_libraries([spec.family for spec in self.registry.defaults.values()])
        if self._before:
            self.manager.adopt(self._before.manager)
            self._retired = [
                spec
                for spec in self._before.registry.defaults.values()
                if spec not in self.registry.defaults.values()
            ]
            self._before = None
        if self.settings.warmup_on_startup:
            # The model that /ready stands for comes first.
            ready = self.readiness_model()
            for spec in sorted(self.registry.defaults.values(), key=lambda spec: spec != ready):
                network = networks_of(spec)[0]
                self.manager.preload(network)
                self.workers.order_load(network, "auto")

    def after_fork(self) -> None:
        """In a worker, first: take its slot, share the cores with the other workers."""
        self.shared.join()
        self.manager.worker = self.shared.slot - 1
        lifeline.end_with_parent(self.shared.owner)
        cv2.setNumThreads(self._threads())

    def start(self) -> None:
        """In a worker: start the threads. The default models become ready in the background."""
        if self.shared.slot:  # the command line starts it in the process that made it
            lifeline.end_with_parent(self.shared.owner)  # a change of the user has undone it
        self.metrics.start(len(self.registry.specs()))
        self._device_threads.start()
        self.decoders.start()
        housekeeping = Housekeeping(
            self.settings, self.shared, self.workers, self.waiting_room, self._turns.worked
        )
        self._background = [
            threading.Thread(None, self._follow, "follow", daemon=True),
            threading.Thread(None, housekeeping.work, "housekeeping", [self._closing], daemon=True),
        ]
        for thread in self._background:
            thread.start()

    def announce_stop(self) -> None:
        """In the master: the service ends, not only some of its workers."""
        self.shared.raise_flag("stopping")
        self.shared.ring()

    def leave(self) -> None:
        """In a worker that ends: one that is only replaced serves who waits."""
        if self.shared.slot and os.getppid() != self.shared.owner:
            self._end_without_master()
        if self.shared.flag("stopping"):
            self.stop("The service is shutting down")
        elif not self.shared.get("leaving"):
            self.shared.set("leaving", 1)
            os.kill(os.getppid(), signal.SIGCHLD)  # the master looks after its workers

    def _end_without_master(self) -> None:
        """The master was killed: free the ports, as at a stop, whatever state the others are in."""
        if not self.shared.flag("stopping"):
            log.critical("the master is gone; this service ends")
        self.announce_stop()
        self.shared.wake()
        self._end_for_sure()

    def stop(self, reason: str) -> None:
        """Refuse who waits and who comes; what runs has until SHUTDOWN_TIMEOUT_SECONDS."""
        if not self._closing.is_set():
            self._refusal = reason
            self._closing.set()
            seconds = self.settings.shutdown_timeout_seconds - _ANSWER_SECONDS
            self.waiting_room.close(self.refusal, max(0.0, seconds))

    def refusal(self) -> NotAvailable:
        """What a client gets that comes too late."""
        return NotAvailable(
            f"{self._refusal}; try again later",
            title="Shutting down",
            retry_after=_RETRY_AFTER_SECONDS,
        )

    def is_closing(self) -> bool:
        """Whether this process no longer takes requests."""
        return self._closing.is_set()

    def close(self) -> bool:
        """The process ends; whether nothing is left that would keep it from ending."""
        self.stop("The service is shutting down")
        self.helpers.close()
        ended = self._device_threads.stop(_ANSWER_SECONDS)
        self.decoders.close()
        if self.settings.cleanup_on_shutdown and ended:
            memory.clean_up()
        self.shared.ring()
        for thread in self._background:
            thread.join(_ANSWER_SECONDS)
        if not any(thread.is_alive() for thread in self._background):  # else it may need it
            self.shared.close()
        return ended

    def _threads(self) -> int:
        return max(1, memory.usable_cores() // self.settings.web_concurrency)

    def _follow(self) -> None:
        """Follow the orders of the service."""
        while not self.is_closing():
            try:
                self.workers.follow()
                self._ensure_defaults_on_disk()
                self._retire()
                self.shared.set("up", 1)
            except Exception:  # such as a full /dev/shm: it must not be the end of following
                log.exception("orders could not be followed; trying again")
            if self.shared.flag("stopping"):
                self.leave()
                os.kill(os.getpid(), signal.SIGTERM)  # the master's may have come too early
            self.shared.wait_for_bell(_FOLLOW_SECONDS)

    def _retire(self) -> None:
        """After a reload, when the old workers are gone: unload what only they needed."""
        slots = self.shared.workers()
        if self._retired and len(slots) <= self.settings.web_concurrency:
            current = self.operations.current_depth_model().key
            if self.shared.slot == min(slots):
                for spec in self._retired:
                    for network in networks_of(spec) if spec.key != current else ():
                        self.workers.order_unload(network)
            self._retired = []

    def _ensure_defaults_on_disk(self) -> None:
        """Those that are to be loaded at start are downloaded by their orders."""
        if not self.settings.warmup_on_startup:
            for spec in self.registry.defaults.values():
                if not self.manager.on_disk(spec):
                    with suppress(NotAvailable):
                        self.manager.check(networks_of(spec)[0])

    def _hung(self) -> None:
        if not self.is_closing():
            log.critical("an inference hangs; this worker ends\n%s", self._device_threads.stacks())
            self._end_worker("An inference hangs, and this worker is being replaced")

    def _lost(self) -> None:
        self.reports.set_trouble(DEVICE_LOST)
        self._end_worker("The device is lost, and this worker is being replaced")

    def _end_worker(self, reason: str) -> None:
        self.stop(reason)
        # gunicorn lets this worker send its answers, and puts another one in its place. No client
        # that does not take its answer may keep it here.
        self._end_for_sure()
        os.kill(os.getpid(), signal.SIGTERM)

    def _end_for_sure(self) -> None:
        end = threading.Timer(self.settings.shutdown_timeout_seconds, os._exit, [1])
        end.daemon = True
        end.start()

    # -- state ---------------------------------------------------------------------------------

    def readiness_model(self) -> ModelSpec:
        """The model that ``/ready`` stands for."""
        defaults = self.registry.defaults
        return defaults.get("embedding") or defaults["depth"]

    def is_ready(self) -> bool:
        """Latches for the whole service: a failed load, a lost device or shutdown takes it back."""
        status = self.reports.status(self.readiness_model())
        stopping = bool(self.shared.flag("stopping")) or self.is_closing()
        if stopping or status.state == "unavailable" or DEVICE_LOST in self.reports.troubles():
            return False
        # A reload may have made it another model.
        mark = 1 + crc32(status.spec.key.encode())
        if status.state == "loaded" or (not self.settings.warmup_on_startup and status.on_disk):
            self.shared.raise_flag("ready", mark)
        return self.shared.flag("ready") == mark

    def device(self) -> Device:
        """The device, or what the setting names where it cannot be had."""
        try:
            return self.reports.device() or self.manager.device()
        except LoadError as error:
            return Device(self.settings.device, str(error))
