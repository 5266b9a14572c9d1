# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The runtime: everything behind the HTTP routes, and the path of a request through it.

Life of a process: ``warm()`` in the master before the fork, ``after_fork()`` and ``bring_up()`` in
each worker, ``close()`` at the end.
"""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from app import images, memory
from app.admission import WaitingRoom
from app.errors import NotAvailable, TwinlensError
from app.fetch import Fetcher
from app.models.base import FloatArray, LoadError, Model
from app.models.clip import Clip
from app.models.depth_anything import DepthAnything
from app.models.devices import Device
from app.models.downloads import Downloads
from app.models.manager import Manager
from app.models.operations import Operations
from app.models.registry import FAMILIES, Registry
from config.models import ModelSpec
from config.settings import Settings

log = logging.getLogger("twinlens.runtime")

_POLL_SECONDS = 1.0


@dataclass
class Timings:
    """Seconds that a request waited for its turn, and that the network ran."""

    wait: float = 0.0
    infer: float = 0.0


@dataclass(frozen=True)
class DepthMap:
    """[height, width] uint8, near = bright, of the upright photo's size."""

    pixels: NDArray[np.uint8]
    weights: str
    timings: Timings


@dataclass(frozen=True)
class Embeddings:
    """For each image in order a vector [dims] float32, or what was wrong with it."""

    vectors: list[FloatArray | TwinlensError]
    #: shortest edge that the sources were brought to, pixels
    image_size: int
    weights: str
    timings: Timings


class Runtime:
    """Owns registry, manager, operations, waiting room, fetcher and device threads."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.registry = Registry(settings)
        self.waiting_room = WaitingRoom(
            settings.image_embedder_concurrency,
            settings.image_embedder_max_queue,
            settings.image_embedder_max_wait_seconds,
        )
        # Where the processes of the service meet. Not a TemporaryDirectory object: that would
        # remove the folder when the first worker ends. Shared memory is there and writable also
        # where the root file system is read-only, and nobody tidies it up.
        shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
        self._folder = Path(tempfile.mkdtemp(prefix="twinlens-", dir=shared))
        self._owner = os.getpid()
        atexit.register(self._remove_folder)
        downloads = Downloads(settings.hf_hub_cache, self._folder, settings.hf_hub_offline)
        self.manager = Manager(self.registry.specs(), downloads, settings.device)
        self.operations = Operations(
            self.registry, self.manager, downloads, self._folder, settings.depth_model
        )
        # Inference stays on these threads: every other thread that ran it would keep an OpenMP
        # pool and scratch memory of its own.
        self._device_threads = ThreadPoolExecutor(
            settings.image_embedder_concurrency, thread_name_prefix="device"
        )
        self.fetcher = Fetcher(
            enabled=settings.allow_remote_image_urls,
            hosts=settings.allowed_remote_image_hosts,
            private_networks=settings.allowed_private_networks,
            max_bytes=settings.max_image_bytes,
            seconds=settings.request_timeout_seconds,
        )
        self._closing = threading.Event()
        self._worked = threading.Event()
        self._was_ready = False

    # -- life ----------------------------------------------------------------------------------

    def warm(self) -> None:
        """In the master: import the engines, map the default models' weights."""
        for family in self.settings.enabled_families:
            FAMILIES[family].import_engine()
        if self.settings.warmup_on_startup:
            for spec in self.registry.defaults.values():
                self.manager.preload(spec)
        memory.prepare_fork()

    def after_fork(self) -> None:
        """In a worker, first: share the cores with the other workers."""
        import torch

        threads = max(1, memory.usable_cores() // self.settings.web_concurrency)
        torch.set_num_threads(threads)
        cv2.setNumThreads(threads)

    def bring_up(self) -> None:
        """In a worker: make the default models ready, and keep memory clean, in the background."""
        threading.Thread(target=self._bring_up, name="bring-up", daemon=True).start()
        threading.Thread(target=self._keep_clean, name="keep-clean", daemon=True).start()

    def close(self) -> None:
        """The process ends; the one that made the shared folder removes it."""
        self._closing.set()
        self._device_threads.shutdown()
        if self.settings.cleanup_on_shutdown:
            memory.clean_up()
        self._remove_folder()

    def _remove_folder(self) -> None:
        if os.getpid() == self._owner:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _bring_up(self) -> None:
        pending = list(self.registry.defaults.values())
        while pending and not self._closing.is_set():
            for spec in pending.copy():
                try:
                    # Asks for the download of what is not on disk, again if its process died.
                    self.manager.check(spec)
                    if self.settings.warmup_on_startup:
                        with self.manager.lease(spec):
                            pass
                    pending.remove(spec)
                except NotAvailable:
                    continue  # logged by the manager, which decides when to try again
            self._closing.wait(_POLL_SECONDS)

    def _keep_clean(self) -> None:
        """Give freed memory back when the work is done, and clean up thoroughly now and then."""
        interval = self.settings.memory_cleanup_interval_seconds
        cleaned_at = time.monotonic()
        while not self._closing.wait(_POLL_SECONDS):
            if self._worked.is_set() and self.waiting_room.figures().in_flight == 0:
                self._worked.clear()
                memory.trim()
            if interval and time.monotonic() - cleaned_at >= interval:
                cleaned_at = time.monotonic()
                log.debug("cleaned up: %s", memory.clean_up())

    # -- requests ------------------------------------------------------------------------------

    def depth(self, photo: BinaryIO, spec: ModelSpec) -> DepthMap:
        """The depth map of a photo. Raises a TwinlensError."""
        timings = Timings()
        self.manager.check(spec)
        with self._turn(timings), self.manager.lease(spec) as model:
            assert isinstance(model, DepthAnything)
            with photo:
                picture = images.decode(photo, self.settings.max_image_pixels)
            size = picture.size
            inputs = model.prepare(picture)
            del picture  # a photo is large; only its size is needed from here on
            disparity = self._infer(model, inputs[None], timings)[0]
        return DepthMap(model.finish(disparity, *size), model.weights, timings)

    def embed(
        self,
        sources: Sequence[BinaryIO | TwinlensError],
        spec: ModelSpec,
        *,
        normalize: bool,
        image_size: int | None,
    ) -> Embeddings:
        """The vectors of images, computed as one batch.

        A source that could not be had, or that is no image, gives its error and spoils nothing for
        the others. Raises a TwinlensError where nothing at all can be computed.
        """
        timings = Timings()
        results: list[FloatArray | TwinlensError] = []
        inputs: list[FloatArray] = []
        self.manager.check(spec)
        with self._turn(timings), self.manager.lease(spec) as model:
            assert isinstance(model, Clip)
            for source in sources:
                try:
                    if isinstance(source, TwinlensError):
                        raise source
                    with source:
                        picture = images.decode(source, self.settings.max_image_pixels)
                    inputs.append(model.prepare(picture, image_size))
                    del picture  # large, and not needed any more
                    results.append(inputs[-1])  # keeps the place of its vector
                except TwinlensError as error:
                    results.append(error)
            outputs = iter(self._infer(model, np.stack(inputs), timings) if inputs else ())
        vectors = [
            result if isinstance(result, TwinlensError) else model.finish(next(outputs), normalize)
            for result in results
        ]
        assert spec.image_size is not None
        return Embeddings(vectors, image_size or spec.image_size, model.weights, timings)

    @contextmanager
    def _turn(self, timings: Timings) -> Iterator[None]:
        started = time.monotonic()
        with self.waiting_room.turn():
            timings.wait = time.monotonic() - started
            self._worked.set()
            yield

    def _infer(self, model: Model, batch: FloatArray, timings: Timings) -> FloatArray:
        started = time.monotonic()
        outputs: FloatArray = self._device_threads.submit(model.infer, batch).result()
        timings.infer = time.monotonic() - started
        return outputs

    # -- state ---------------------------------------------------------------------------------

    def readiness_model(self) -> ModelSpec:
        """The model that ``/ready`` stands for."""
        defaults = self.registry.defaults
        return defaults.get("embedding") or defaults["depth"]

    def is_ready(self) -> bool:
        """Latches: only a failed load or the end of the process takes it back."""
        status = self.manager.status(self.readiness_model())
        if self._closing.is_set() or status.state == "unavailable":
            return False
        if status.state == "loaded" or (not self.settings.warmup_on_startup and status.on_disk):
            self._was_ready = True
        return self._was_ready

    def device(self) -> Device:
        """The device, or what the setting names where it cannot be had."""
        try:
            return self.manager.device()
        except LoadError as error:
            return Device(self.settings.device, str(error))
