# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The path of a request: wait for a turn, prepare, infer, finish."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import BinaryIO

import numpy as np

from app.decoding.job import Job, Pixels
from app.decoding.pool import Decoders
from app.engines.base import FloatArray, InputArray
from app.engines.devices import fault
from app.errors import ClientGone, ProcessingFailed, TooSlow, TwinlensError
from app.lending.manager import Manager
from app.models.base import Model, Steps
from app.models.clip import Clip
from app.models.clip_text import ClipText
from app.models.depth_anything import DepthAnything
from app.models.tokens import Tokens
from app.pictures.canvas import Levels
from app.pictures.decode import Enough, in_full
from app.pictures.steps import Outline, Step
from app.queueing.device_threads import lost
from app.queueing.tickets import Ticket
from app.queueing.waiting_room import WaitingRoom
from app.rendering import formats, maps, stereo
from app.rendering.options import EXACT, DepthOptions, Size
from app.tasks.results import DepthMap, Embeddings, TextEmbeddings, Timings
from app.workers.orders import Workers
from config.models import ModelSpec

log = logging.getLogger("twinlens.pipeline")

#: From the size of an upright photo.
StepsFor = Callable[[Size], Steps]

# How often a wait for a core asks whether it should go on.
_LOOK_SECONDS = 0.5


class Pipeline:
    """What a caller's thread goes through; files are decoded by processes of their own, and
    ``infer`` runs on a device thread.

    A GPU may help with ``prepare`` and ``finish``, so these can find it lost, too.
    """

    def __init__(
        self,
        room: WaitingRoom,
        manager: Manager,
        workers: Workers,
        decoders: Decoders,
        cores: int,
        max_pixels: int,
        exact_decode: bool,
    ) -> None:
        self._room = room
        self._manager = manager
        self._workers = workers
        self._decoders = decoders
        self._max_pixels = max_pixels
        self._exact_decode = exact_decode
        # Encoding takes a core and, for a large photo, much memory.
        self._cores = threading.BoundedSemaphore(cores)
        #: told that the device is lost for this process
        self.on_lost: Callable[[], None] = lambda: None
        #: set when memory was used that may be given back later
        self.worked = threading.Event()

    def depth(
        self,
        photo: BinaryIO,
        spec: ModelSpec,
        options: DepthOptions = DepthOptions(),  # noqa: B008 - it is frozen
        is_gone: Callable[[], bool] = lambda: False,
    ) -> DepthMap:
        """The depth map of a photo.

        Args:
            photo: a file in one of ``app.pictures.kinds.FORMATS``; it is closed in the end.
            spec: a depth model.
            options: what the answer is to be.
            is_gone: tells whether the client has hung up.

        Raises:
            TwinlensError: whatever is wrong with the photo or the service.
        """
        timings = Timings()
        with photo:
            with self._turn(spec, 1, is_gone, timings) as (ticket, model):
                assert isinstance(model, DepthAnything)
                job = self._job(ticket, model, model.enough, model.steps)
                picture = self._decode(photo, job, timings)
                size = options.target(picture.size, model.input_size(*picture.size))
                formats.check(options, size, self._max_pixels)
                with self._core(job.look), timings.stage("prepare"), self._device_faults():
                    inputs = model.prepare(picture)
                del picture  # it may be large, and the device may be busy for long
                disparity = self._infer(ticket, model, inputs[None], timings)[0]
            look = self._patience(is_gone)
            view = self._view(photo, size, look, timings) if options.is_pair else None
            with self._core(look):
                pixels = self._render(model, disparity, view, size, options, timings)
                del view
                with timings.stage("encode"):
                    file = formats.encode(pixels, options)
        low, high = float(disparity.min()), float(disparity.max())
        return DepthMap(model.weights, model.provenance(), timings, file, low, high)

    def embed(
        self,
        sources: Sequence[BinaryIO | TwinlensError],
        spec: ModelSpec,
        *,
        normalize: bool,
        image_size: int | None,
        is_gone: Callable[[], bool] = lambda: False,
    ) -> Embeddings:
        """The vectors of images, computed as one batch.

        A source that could not be had, or that is no image, gives its error and spoils nothing for
        the others. Raises a TwinlensError where nothing at all can be computed.
        """
        timings = Timings()
        results: list[FloatArray | TwinlensError] = []
        inputs: list[FloatArray] = []
        with self._turn(spec, len(sources), is_gone, timings) as (ticket, model):
            assert isinstance(model, Clip)
            enough = partial(model.enough, image_size)
            job = self._job(ticket, model, enough, partial(model.steps, image_size))
            for source in sources:
                try:
                    if isinstance(source, TwinlensError):
                        raise source
                    with source:
                        picture = self._decode(source, job, timings)
                    with self._core(job.look), timings.stage("prepare"), self._device_faults():
                        inputs.append(model.prepare(picture, image_size))
                    del picture  # it may be large, and is not needed any more
                    results.append(inputs[-1])  # keeps the place of its vector
                except TwinlensError as error:
                    job.look()  # raises what is wrong with the whole request
                    results.append(error)
            outputs = self._infer(ticket, model, np.stack(inputs), timings) if inputs else ()
        with timings.stage("finish"):
            vectors = self._vectors(model, results, outputs, normalize)
        assert spec.image_size is not None
        return Embeddings(
            model.weights,
            model.provenance(),
            timings,
            vectors,
            image_size or spec.image_size,
        )

    def embed_texts(
        self,
        texts: Sequence[str],
        spec: ModelSpec,
        *,
        normalize: bool,
        is_gone: Callable[[], bool] = lambda: False,
    ) -> TextEmbeddings:
        """The vectors of texts, computed as one batch, as those of images; see ``embed``."""
        timings = Timings()
        results: list[Tokens | TwinlensError] = []
        with self._turn(spec.text_tower(), len(texts), is_gone, timings) as (ticket, model):
            assert isinstance(model, ClipText)
            look = partial(self._room.look, ticket)
            for text in texts:
                try:
                    with self._core(look), timings.stage("prepare"):
                        results.append(model.prepare(text))
                except TwinlensError as error:
                    look()  # raises what is wrong with the whole request
                    results.append(error)
            good = [result.ids for result in results if isinstance(result, Tokens)]
            outputs = self._infer(ticket, model, np.stack(good), timings) if good else ()
        with timings.stage("finish"):
            vectors = self._vectors(model, results, outputs, normalize)
        tokens = [result if isinstance(result, Tokens) else None for result in results]
        return TextEmbeddings(model.weights, model.provenance(), timings, vectors, tokens)

    @contextmanager
    def _device_faults(self) -> Iterator[None]:
        """Raises NotAvailable where the block finds the device lost."""
        try:
            yield
        except RuntimeError as error:
            if fault(error) != "lost":
                raise
            raise lost(error, self.on_lost) from None

    def _render(
        self,
        model: DepthAnything,
        disparity: FloatArray,
        view: Levels | None,
        size: Size,
        options: DepthOptions,
        timings: Timings,
    ) -> formats.Pixels:
        """The network's output as it was asked for, see ``formats.encode``.

        Args:
            view: the photo for a stereo pair, [height, width, 3] uint8.
        """
        if view is not None:
            with timings.stage("finish"):
                return stereo.pair(view, disparity, options.divergence)
        with timings.stage("finish"), self._device_faults():
            if isinstance(options.size, int):
                disparity = maps.shrunk(disparity, size)
            if options.format in EXACT:
                return maps.exact(disparity, size, options)
            return maps.shown(model.finish(disparity, *size), options)

    def _decode(self, file: BinaryIO, job: Job, timings: Timings) -> Pixels:
        pixels = self._decoders.decode(file, job)
        self._room.moved()
        timings.decode += pixels.seconds  # without the wait for a decoder
        return pixels

    def _job(
        self, ticket: Ticket, model: Clip | DepthAnything, enough: Enough, steps: StepsFor
    ) -> Job:
        """To decode one file of a request for a model."""

        def plan(decoded: Size, full: Size) -> Sequence[Step] | None:
            todo = steps(full)
            if model.network.works_on(decoded[0] * decoded[1]):
                return None
            done = todo(Outline(decoded))
            assert isinstance(done, Outline)
            return done.steps

        return Job(
            in_full if self._exact_decode else enough,
            plan,
            partial(self._room.look, ticket),
            partial(self._room.set_aside, ticket),
        )

    def _view(
        self, photo: BinaryIO, size: Size, look: Callable[[], None], timings: Timings
    ) -> Levels:
        """The photo [height, width, 3] in this size.

        It is decoded anew, so that nobody holds a photo while waiting for the device.
        """

        def plan(_: Size, __: Size) -> Sequence[Step]:
            return Outline(size).resize(size).steps

        return self._decode(photo, Job(lambda *_: size, plan, look), timings).image

    def _patience(self, is_gone: Callable[[], bool]) -> Callable[[], None]:
        """For waits after the inference: raises where the client is gone or waits for too long."""
        # Where nobody may wait for a device, this is no such wait, and all else has its own limit.
        end = time.monotonic() + (self._room.max_wait_seconds or math.inf)

        def look() -> None:
            if is_gone():
                raise ClientGone
            if time.monotonic() > end:
                raise TooSlow(
                    f"The result was not finished within {self._room.max_wait_seconds:g} seconds "
                    "(IMAGE_EMBEDDER_MAX_WAIT_SECONDS)"
                )

        return look

    @contextmanager
    def _core(self, look: Callable[[], None]) -> Iterator[None]:
        """One of the worker's cores; ``look`` raises where nobody waits for it any more."""
        while not self._cores.acquire(timeout=_LOOK_SECONDS):
            look()
        try:
            yield
        finally:
            self._cores.release()

    def _vectors(
        self,
        model: Clip | ClipText,
        inputs: Sequence[object],
        outputs: Iterable[FloatArray],
        normalize: bool,
    ) -> list[FloatArray | TwinlensError]:
        """For each input its vector, or the error that stands in its place."""
        rows = iter(outputs)
        return [
            each if isinstance(each, TwinlensError) else self._vector(model, next(rows), normalize)
            for each in inputs
        ]

    @staticmethod
    def _vector(
        model: Clip | ClipText, output: FloatArray, normalize: bool
    ) -> FloatArray | TwinlensError:
        try:
            return model.finish(output, normalize)
        except ArithmeticError:
            log.exception("a vector is unusable")
            return ProcessingFailed()

    @contextmanager
    def _turn(
        self, spec: ModelSpec, count: int, is_gone: Callable[[], bool], timings: Timings
    ) -> Iterator[tuple[Ticket, Model]]:
        """Wait for a turn with a model, which is loaded meanwhile if need be."""
        self._manager.check(spec)
        entered = self._room.enter(spec.key, count, is_gone)
        with (
            entered as ticket,
            self._workers.lease(spec, partial(self._room.look, ticket)) as model,
        ):
            started = time.monotonic()
            self._room.wait_for_turn(ticket, model.together())
            timings.wait = time.monotonic() - started
            self.worked.set()
            yield ticket, model

    def _infer(
        self, ticket: Ticket, model: Model, inputs: InputArray, timings: Timings
    ) -> FloatArray:
        prepared = time.monotonic()
        ticket.images = len(inputs)
        outputs = self._room.run(ticket, model, inputs)
        assert ticket.started is not None
        timings.wait += ticket.started - prepared
        timings.infer = time.monotonic() - ticket.started
        return outputs
