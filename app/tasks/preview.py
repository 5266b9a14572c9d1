# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Makes a small upright sRGB picture of a photo, without a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import BinaryIO

from app.decoding.job import Job
from app.pictures.steps import Outline, Step
from app.rendering import preview
from app.rendering.options import Size
from app.rendering.preview import PreviewOptions
from app.tasks.results import Preview, Timings
from app.tasks.turns import IsGone, Turns


class PreviewTask:
    """Makes previews in the thread of the request, while another process decodes the photo."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    def run(self, photo: BinaryIO, options: PreviewOptions, is_gone: IsGone) -> Preview:
        """Make a preview.

        Args:
            photo: a file in one of ``decode.FORMATS``; it is closed before this returns.
            options: size and format of the preview.
            is_gone: tells whether the client has hung up.

        Raises:
            TwinlensError: the file is unusable, or the service cannot answer now.
        """
        timings = Timings()

        def decode_size(width: int, height: int) -> Size:
            return options.target((width, height))

        def plan(decoded: Size, full: Size) -> Sequence[Step] | None:
            return Outline(decoded).resize(options.target(full)).steps

        with photo, self._turns.wait_for_core(is_gone) as check_cancelled:
            job = Job(decode_size, plan, check_cancelled)
            pixels = self._turns.decode(photo, job, timings)
            with timings.stage("encode"):
                file = preview.encode(pixels.image, options)
        return Preview(timings, file)
