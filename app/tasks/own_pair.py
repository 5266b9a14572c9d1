# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Makes stereo pairs with depth maps that the clients have already, without a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import BinaryIO

from app.decoding.job import Job
from app.errors import BadRequest
from app.pictures import depth_map
from app.pictures.steps import Outline, Step
from app.rendering import formats, stereo_layouts
from app.rendering.maps import FloatArray
from app.rendering.options import DepthOptions, Size
from app.tasks.results import OwnPair, Timings
from app.tasks.turns import IsGone, Turns

# Largest difference of a map's aspect from the photo's, as a share. Maps in a network's own size
# have edges that are rounded to multiples of 14 or 32 pixels.
_MOST_ASKEW = 0.03


class OwnPairTask:
    """Makes stereo pairs in the thread of the request, while other processes decode the files."""

    def __init__(self, turns: Turns, max_pixels: int) -> None:
        self._turns = turns
        self._max_pixels = max_pixels

    def run(
        self, photo: BinaryIO, own_map: BinaryIO, options: DepthOptions, is_gone: IsGone
    ) -> OwnPair:
        """Make a stereo pair.

        Args:
            photo: a file in one of ``decode.FORMATS``; it is closed before this returns.
            own_map: the photo's depth map, grey, near is bright, in one of these formats; it is
                closed, too.
            options: with ``is_pair``; ``size`` is no network's.
            is_gone: tells whether the client has hung up.

        Raises:
            TwinlensError: a file is unusable, or the service cannot answer now.
        """
        timings = Timings()
        # Everything is done while the request holds a core, because photo and map need much memory.
        with photo, own_map, self._turns.wait_for_core(is_gone) as check_cancelled:
            view = self._turns.decode(photo, self._photo_job(options, check_cancelled), timings)
            numbers = self._read(own_map, view.size, check_cancelled, timings)
            with timings.stage("finish"):
                pixels = stereo_layouts.arranged(view.image, numbers, options)
            del view  # frees a large picture before the file is encoded
            with timings.stage("encode"):
                file = formats.encode(pixels, options)
        return OwnPair(timings, file)

    def _photo_job(self, options: DepthOptions, check_cancelled: Callable[[], None]) -> Job:
        def size(width: int, height: int) -> Size:
            return options.target((width, height), (width, height))

        def plan(decoded: Size, full: Size) -> Sequence[Step] | None:
            target = size(*full)
            formats.check(options, target, self._max_pixels)
            return Outline(decoded).resize(target).steps

        return Job(size, plan, check_cancelled)

    def _read(
        self,
        own_map: BinaryIO,
        photo: Size,
        check_cancelled: Callable[[], None],
        timings: Timings,
    ) -> FloatArray:
        """The map's numbers, 0 to 1, larger is nearer."""

        def plan(_: Size, full: Size) -> Sequence[Step] | None:
            _check_aspect(full, photo)
            return ()

        job = Job(lambda *_: None, plan, check_cancelled, is_depth=True)
        try:
            return depth_map.unpacked(self._turns.decode(own_map, job, timings).image)
        except BadRequest as error:
            raise BadRequest(f"depth: {error.message}", title=error.title) from None


def _check_aspect(size: Size, photo: Size) -> None:
    """Raise BadRequest unless a map of this size fits the photo, but for rounded edges."""
    (width, height), (columns, rows) = size, photo
    askew = width * rows / (height * columns)
    is_rounded = (
        abs(width - height * columns / rows) <= 1 or abs(height - width * rows / columns) <= 1
    )
    if not is_rounded and abs(askew - 1) > _MOST_ASKEW:
        raise BadRequest(
            f"the map is {width}x{height} and the upright photo {columns}x{rows}: "
            "send a map of the whole photo, turned as it is",
            title="Invalid image",
        )
