# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The runtime: creates and owns everything behind the HTTP routes.

In the life of a process, ``warm()`` is called in the master before the fork, ``after_fork()`` and
``start()`` in each worker, ``stop()`` when it must refuse further requests, and ``close()`` when it
ends.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from contextlib import suppress
from zlib import crc32

import cv2

from app.adding.additions import Additions
from app.decoding.pool import Decoders
from app.engines.base import LoadError
from app.engines.devices import Device
from app.errors import NotAvailable
from app.host import lifeline, memory
from app.host.helpers import Helpers
from app.host.shared_state import SharedState
from app.hub.downloads import Downloads
from app.jobs.home import Home
from app.jobs.jobs import Jobs
from app.jobs.making import maker
from app.jobs.run import Outlook
from app.jobs.store import Store
from app.lending.entry import ModelStatus
from app.lending.loader import Loader
from app.lending.manager import Manager
from app.lending.registry import Registry, networks_of
from app.queueing.device_threads import DeviceThreads
from app.queueing.waiting_room import WaitingRoom
from app.remote.fetch import Fetcher
from app.tasks.depth import DepthTask
from app.tasks.embedding import EmbeddingTask
from app.tasks.own_pair import OwnPairTask
from app.tasks.preview import PreviewTask
from app.tasks.sharp import SharpTask
from app.tasks.splat import SplatTask
from app.tasks.turns import Turns
from app.tasks.vector_cache import VectorCache
from app.tasks.video import VideoTask
from app.video.handle import Limits
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
# The part of SHUTDOWN_TIMEOUT_SECONDS that is kept for sending the last answers, because the master
# kills its workers when the timeout is over.
_ANSWER_SECONDS = 1.0
# How often a worker checks for new orders even if no worker has announced any.
_FOLLOW_SECONDS = 1.0


class Runtime:
    """The parts that all requests share, and the steps in the life of a process."""

    def __init__(self, settings: Settings, before: Runtime | None = None) -> None:
        """Create the parts without loading any model.

        Args:
            settings: the settings of this runtime.
            before: at a reload, the runtime that this one replaces in the master. This one takes
                over its shared state, because workers of the old runtime still finish requests.
        """
        self.settings = settings
        self.shared: SharedState = before.shared if before else SharedState()
        self.metrics: Metrics = before.metrics if before else Metrics(self.shared)
        self.registry = Registry(settings)
        self._before = before
        self.downloads = Downloads(
            settings.hf_hub_cache, self.shared.folder, settings.hf_hub_offline, self.shared.life
        )
        networks = self.registry.networks()
        self.loader = Loader.from_settings(settings, self._threads(), self.shared.life[0])
        self.manager = Manager(networks, self.downloads, self.loader)
        self.workers = Workers(self.shared, self.manager, networks)
        self.reports = self.workers.reports
        self.crashes = Crashes(self.shared.folder)
        self.operations = Operations(
            self.registry, self.manager, self.workers, self.downloads, settings.depth_model
        )
        self.additions = Additions(settings, self.shared.life[0])
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
        self.fetcher = Fetcher.from_settings(settings)
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
        self.preview = PreviewTask(self._turns)
        self.own_pairs = OwnPairTask(self._turns, settings.max_image_pixels)
        self.depth = DepthTask(self._turns, self.manager, self.registry, settings.max_image_pixels)
        self.splat = SplatTask(self._turns)
        #: Apple's program; None if the table of models has no row for it
        self.sharp: SharpTask | None = None
        if (row := self.registry.sharp) is not None:
            seconds = settings.inference_timeout_seconds
            self.sharp = SharpTask(self._turns, row, self.shared.folder, seconds)
        self.vectors = VectorCache(settings.embed_cache_size, self.shared)
        self.vectors.on_lookup = self.metrics.looked_up
        self.embedding = EmbeddingTask(self._turns, self.vectors)
        self.video = VideoTask(self._turns, self._film_limits(), settings.video_concurrency)
        home = before.jobs.home if before else Home(settings.jobs_folder)
        # One place for a film is left to requests that wait for their answer.
        places = max(1, settings.video_concurrency - 1)
        store = Store.from_settings(home, settings)
        make = maker(self.video, self.registry, self.metrics)
        self.jobs: Jobs = Jobs(home, store, make, places, self._outlook)
        self.manager.on_lost = self._turns.on_lost = self._lost
        self._background: list[threading.Thread] = []
        self._closing = threading.Event()
        self._refusal = ""
        self._retired: list[ModelSpec] = []
        #: number of the last order before this runtime was made
        self._retired_at = 0

    # -- life ----------------------------------------------------------------------------------

    def warm(self) -> None:
        """Import the engines and map the weights of the default models, in the master."""
        self.jobs.home.prepare()
        self.loader.import_libraries([spec.family for spec in self.registry.defaults.values()])
        if self._before:
            self.manager.adopt(self._before.manager)
            self._retired = [
                spec
                for spec in self._before.registry.defaults.values()
                if spec not in self.registry.defaults.values()
            ]
            self._retired_at = self.workers.last_order()
            for spec in self.registry.defaults.values():
                if spec not in self._before.registry.defaults.values():
                    # An unload from before it became a default model no longer counts.
                    self.workers.forget_unload(networks_of(spec)[0])
            self._before = None
        if self.settings.warmup_on_startup:
            # The model that /ready depends on is loaded first.
            ready = self.readiness_model()
            for spec in sorted(self.registry.defaults.values(), key=lambda spec: spec != ready):
                network = networks_of(spec)[0]
                self.manager.preload(network)
                self.workers.order_load(network, "auto")

    def after_fork(self) -> None:
        """Take this worker's slot and its part of the cores, right after the fork."""
        self.shared.join()
        self.manager.worker = self.shared.slot - 1
        lifeline.end_with_parent(self.shared.owner)
        cv2.setNumThreads(self._threads())

    def start(self) -> None:
        """Start the threads of this worker, which load the default models in the background."""
        if self.shared.slot:  # 0 on the command line, which has no master
            # Linux drops the setting from ``after_fork`` when gunicorn changes the worker's user.
            lifeline.end_with_parent(self.shared.owner)
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
        if self.shared.slot:
            self.jobs.start()

    def announce_stop(self) -> None:
        """Tell the workers that the whole service ends, not only some of them; for the master."""
        self.shared.raise_flag("stopping")
        self.shared.ring()

    def leave(self) -> None:
        """Prepare this worker, which was told to end, for its end.

        It refuses its queued requests only if the whole service ends. A worker that is merely
        replaced still serves them.
        """
        if self.shared.slot and os.getppid() != self.shared.owner:
            self._end_without_master()
        if self.shared.flag("stopping"):
            self.stop("The service is shutting down")
        elif not self.shared.get("leaving"):
            self.shared.set("leaving", 1)
            os.kill(os.getppid(), signal.SIGCHLD)  # makes the master check its workers now

    def _end_without_master(self) -> None:
        """End this worker because the master was killed, so that its ports become free."""
        if not self.shared.flag("stopping"):
            log.critical("the master process has ended; this worker ends, too")
        self.announce_stop()
        self.shared.wake()
        self._end_for_sure()

    def ask_for_reload(self) -> bool:
        """Ask the master to read settings and table of models again, and to replace workers.

        Returns False if this process has no master. Requests in progress are not disturbed.
        """
        if not self.shared.slot or os.getppid() != self.shared.owner:
            return False
        os.kill(self.shared.owner, signal.SIGHUP)
        return True

    def stop(self, reason: str) -> None:
        """Refuse queued and new requests; running ones have SHUTDOWN_TIMEOUT_SECONDS to finish."""
        if not self._closing.is_set():
            self._refusal = reason
            self._closing.set()
            seconds = self.settings.shutdown_timeout_seconds - _ANSWER_SECONDS
            self.waiting_room.close(self.refusal, max(0.0, seconds))

    def refusal(self) -> NotAvailable:
        """The error for requests that come after ``stop``."""
        return NotAvailable(
            f"{self._refusal}; try again later",
            title="Shutting down",
            retry_after=_RETRY_AFTER_SECONDS,
        )

    def is_closing(self) -> bool:
        """Whether this process refuses new requests."""
        return self._closing.is_set()

    def close(self) -> bool:
        """Stop all threads and helper processes; returns whether the device threads have ended."""
        self.stop("The service is shutting down")
        self.jobs.close()
        self.helpers.close()
        ended = self._device_threads.stop(_ANSWER_SECONDS)
        self.decoders.close()
        if self.settings.cleanup_on_shutdown and ended:
            memory.clean_up()
        self.shared.ring()
        for thread in self._background:
            thread.join(_ANSWER_SECONDS)
        # A thread that still runs may still use the shared state.
        if not any(thread.is_alive() for thread in self._background):
            self.shared.close()
        return ended

    def _film_limits(self) -> Limits:
        settings = self.settings
        return Limits(
            settings.max_video_pixels,
            settings.max_video_frames,
            settings.video_max_seconds,
            self._threads(),
        )

    def _threads(self) -> int:
        """Number of cores for this worker: its equal part of all usable ones."""
        return max(1, memory.usable_cores() // self.settings.web_concurrency)

    def _follow(self) -> None:
        """Follow the orders to all workers until this one ends; runs in a background thread."""
        while not self.is_closing():
            try:
                self.workers.follow()
                self._ensure_defaults_on_disk()
                self.downloads.ensure_running()
                self._retire()
                self.shared.set("up", 1)
            except Exception:  # for example, /dev/shm is full; that must not end this thread
                log.exception("orders could not be followed; trying again")
            if self.shared.flag("stopping"):
                self.leave()
                # The master's own SIGTERM may have come before this worker handled signals.
                os.kill(os.getpid(), signal.SIGTERM)
            self.shared.wait_for_bell(_FOLLOW_SECONDS)

    def _retire(self) -> None:
        """Unload models that only the workers before a reload used, once those are gone."""
        slots = self.shared.workers()
        if self._retired and len(slots) <= self.settings.web_concurrency:
            current = self.operations.current_depth_model().key
            if self.shared.slot == min(slots):
                for spec in self._retired:
                    for network in networks_of(spec) if spec.key != current else ():
                        self.workers.retire(network, self._retired_at)
            self._retired = []

    def _ensure_defaults_on_disk(self) -> None:
        """Start downloads of default models that are missing on disk.

        A model that somebody has unloaded or deleted stays away until a request needs it. With
        WARMUP_ON_STARTUP there is nothing to do, because an order to load a model also downloads
        it.
        """
        if not self.settings.warmup_on_startup:
            for spec in self.registry.defaults.values():
                network = networks_of(spec)[0]
                if not self.manager.on_disk(spec) and not self.workers.must_be_unloaded(network):
                    with suppress(NotAvailable):
                        self.manager.check(network)

    def _hung(self) -> None:
        if not self.is_closing():
            log.critical("an inference hangs; this worker ends\n%s", self._device_threads.stacks())
            self._end_worker("An inference hangs, and this worker is being replaced")

    def _lost(self) -> None:
        self.reports.set_trouble(DEVICE_LOST)
        self._end_worker("The device is lost, and this worker is being replaced")

    def _end_worker(self, reason: str) -> None:
        self.stop(reason)
        # gunicorn lets this worker send its answers and starts another one in its place. A client
        # that does not read its answer must not keep this worker alive.
        self._end_for_sure()
        os.kill(os.getpid(), signal.SIGTERM)

    def _end_for_sure(self) -> None:
        """Exit after SHUTDOWN_TIMEOUT_SECONDS even if requests or threads are still busy."""
        end = threading.Timer(self.settings.shutdown_timeout_seconds, os._exit, [1])
        end.daemon = True
        end.start()

    # -- jobs ----------------------------------------------------------------------------------

    def _outlook(self) -> Outlook:
        if self.shared.flag("stopping"):
            return "stop"
        if self.is_closing():
            return "fail"
        return "leave" if self.shared.get("leaving") else "stay"

    # -- state ---------------------------------------------------------------------------------

    def statuses(self) -> list[ModelStatus]:
        """The status of all models in the whole service, in the order of the table."""
        return [*self.reports.statuses(), *([self.sharp.status()] if self.sharp else [])]

    def readiness_model(self) -> ModelSpec:
        """The model that ``/ready`` depends on."""
        defaults = self.registry.defaults
        return defaults.get("embedding") or defaults["depth"]

    def is_ready(self) -> bool:
        """Whether ``/ready`` should answer 200.

        Once one worker is ready, all stay ready, even while the model is unloaded because it was
        idle. A failed load, a lost device or a shutdown ends that.
        """
        status = self.reports.status(self.readiness_model())
        stopping = bool(self.shared.flag("stopping")) or self.is_closing()
        if stopping or status.state == "unavailable" or DEVICE_LOST in self.reports.troubles():
            return False
        # The shared flag holds a hash of the model's key: after a reload it may be another model.
        mark = 1 + crc32(status.spec.key.encode())
        if status.state == "loaded" or (not self.settings.warmup_on_startup and status.on_disk):
            self.shared.raise_flag("ready", mark)
        return self.shared.flag("ready") == mark

    def device(self) -> Device:
        """The device of the service; if it cannot be used, the setting DEVICE with the reason."""
        try:
            return self.reports.device() or self.manager.device()
        except LoadError as error:
            return Device(self.settings.device, str(error))
