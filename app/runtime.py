# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The runtime: everything behind the HTTP routes, and the path of a request through it.

Life of a process: ``warm()`` in the master before the fork, ``after_fork()`` and ``bring_up()`` in
each worker, ``close()`` at the end.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from app import images, memory
from app.admission import WaitingRoom
from app.errors import NotAvailable
from app.models.base import FloatArray, LoadError, Model
from app.models.clip import Clip
from app.models.depth_anything import DepthAnything
from app.models.devices import Device
from app.models.downloads import Downloads
from app.models.manager import Manager
from app.models.registry import FAMILIES, Registry
from config.models import ModelSpec
from config.settings import Settings

log = logging.getLogger("twinlens.runtime")

_POLL_SECONDS = 1.0


@dataclass(frozen=True)
class DepthMap:
    """[height, width] uint8, near = bright, of the upright photo's size."""

    pixels: NDArray[np.uint8]
    weights: str


@dataclass(frozen=True)
class Embedding:
    """A vector [dims] float32 and the size that the source was brought to, pixels."""

    vector: FloatArray
    image_size: int
    weights: str


class Runtime:
    """Owns the registry, the manager and the waiting room."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.registry = Registry(settings)
        self.waiting_room = WaitingRoom(
            settings.image_embedder_concurrency,
            settings.image_embedder_max_queue,
            settings.image_embedder_max_wait_seconds,
        )
        self._downloads = Downloads(settings.hf_hub_cache, settings.hf_hub_offline)
        self.manager = Manager(self.registry.specs(), self._downloads, settings.device)
        # Inference stays on these threads: every other thread that ran it would keep an OpenMP
        # pool and scratch memory of its own.
        self._device_threads = ThreadPoolExecutor(
            settings.image_embedder_concurrency, thread_name_prefix="device"
        )
        self._closing = threading.Event()
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
        """In a worker: make the default models ready in the background."""
        threading.Thread(target=self._bring_up, name="bring-up", daemon=True).start()

    def close(self) -> None:
        """The process ends."""
        self._closing.set()
        self._device_threads.shutdown()
        self._downloads.close()

    def _bring_up(self) -> None:
        pending = list(self.registry.defaults.values())
        for spec in pending:
            if not self.manager.on_disk(spec):
                self.manager.request_download(spec)
        while self.settings.warmup_on_startup and pending and not self._closing.is_set():
            for spec in [spec for spec in pending if self.manager.on_disk(spec)]:
                try:
                    with self.manager.lease(spec):
                        pending.remove(spec)
                except NotAvailable:
                    continue  # logged by the manager, which decides when to try again
            self._closing.wait(_POLL_SECONDS)

    # -- requests ------------------------------------------------------------------------------

    def depth(self, photo: bytes, spec: ModelSpec) -> DepthMap:
        """The depth map of a photo. Raises a TwinlensError."""
        with self.manager.lease(spec) as model:
            assert isinstance(model, DepthAnything)
            with self._turn():
                picture = images.decode(photo, self.settings.max_image_pixels)
                size = picture.size
                inputs = model.prepare(picture)
                del picture  # a photo is large; only its size is needed from here on
                disparity = self._infer(model, inputs)
        return DepthMap(model.finish(disparity, *size), model.weights)

    def embed(
        self, image: bytes, spec: ModelSpec, *, normalize: bool, image_size: int | None
    ) -> Embedding:
        """The vector of an image. Raises a TwinlensError."""
        with self.manager.lease(spec) as model:
            assert isinstance(model, Clip)
            with self._turn():
                picture = images.decode(image, self.settings.max_image_pixels)
                vector = self._infer(model, model.prepare(picture, image_size))
        assert spec.image_size is not None
        return Embedding(
            model.finish(vector, normalize), image_size or spec.image_size, model.weights
        )

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """A turn; when nobody comes after it, memory that lies idle is given back."""
        with self.waiting_room.turn():
            yield
        if self.waiting_room.figures().in_flight == 0:
            self._device_threads.submit(memory.trim)  # 3 ms that the caller need not wait for

    def _infer(self, model: Model, inputs: FloatArray) -> FloatArray:
        output: FloatArray = self._device_threads.submit(model.infer, inputs[None]).result()[0]
        return output

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
