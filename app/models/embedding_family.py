# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Base class of families of embedding models."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from app.engines.base import FloatArray
from app.models import logits
from app.models.base import Family, Picture
from app.models.tokens import Tokens
from app.pictures.canvas import Canvas, ImageWork, Steps, unchanged
from app.pictures.resampling import Colour, Interpolation

_LARGEST_RESIZED = 20_000_000  # pixels


class EmbeddingFamily(Family):
    """A family of embedding models: maps images, and usually texts, to vectors in one space."""

    #: An image is decoded to at least this multiple of the size of its first resize, so that the
    #: resize starts from enough pixels.
    OVERSAMPLED: ClassVar[float] = 2.0
    #: number of dimensions of a vector
    dims: int
    #: edge of the network's input, pixels
    image_size: int
    #: How an image becomes a square. "shortest": its shorter side is resized to the edge, and the
    #: centre is cropped. "longest": its longer side is resized to the edge, and a border of the
    #: colour ``fill`` is added. "squash": it is resized to the square without keeping its aspect
    #: ratio.
    resize_mode: Literal["shortest", "longest", "squash"] = "shortest"
    #: Edge to which "shortest" or "squash" resizes the image if it is more than ``image_size``; the
    #: centre of the size ``image_size`` is cropped afterwards.
    resize_edge: int | None = None
    interpolation: Interpolation = "bicubic"
    fill: Colour = (0, 0, 0)
    #: whether odd margins of the centre crop are rounded as in torchvision, see ``centre``
    rounds_margins: bool = False

    def decode_size(self, image_size: int | None, width: int, height: int) -> tuple[int, int]:
        """The smallest size to which an image of this size may be decoded for ``prepare_image``."""
        edge = image_size or self.resize_edge or self.image_size
        scale = self.OVERSAMPLED * edge / min(width, height)
        return math.ceil(width * scale), math.ceil(height * scale)

    def steps(self, image_size: int | None, size: tuple[int, int]) -> Steps:
        """The crops and resizes that ``prepare_image`` starts with, for an image of this size."""

        def steps(canvas: Canvas) -> Canvas:
            before = size
            if image_size is not None:
                canvas = self._resize_shortest(canvas, before, image_size)
                before = canvas.size
            return self.to_square(canvas, before)

        return steps

    def prepare_image(
        self, picture: Picture, image_size: int | None, work: ImageWork
    ) -> FloatArray:
        """The network's input [3, s, s] float32 with the native size s.

        Args:
            picture: the upright image.
            image_size: pixels to which the image's shorter side is resized first; None: no such
                resize. The model's own resize and crop always follow, so vectors remain
                comparable.
            work: does the crops, resizes and normalisation, on the CPU or on a device.
        """
        steps = unchanged if picture.done else self.steps(image_size, picture.size)
        return work.prepared(picture.image, steps, self.mean, self.deviation)

    def to_square(self, canvas: Canvas, size: tuple[int, int]) -> Canvas:
        """The model's own resize and crop, to its native size.

        Args:
            canvas: the picture; it may have been decoded at reduced size.
            size: width and height of the picture at full size, which give its aspect ratio.
        """
        edge = self.image_size
        larger = self.resize_edge or edge
        if self.resize_mode == "squash":
            canvas = canvas.resize((larger, larger), self.interpolation)
            return canvas if larger == edge else centre(canvas, edge, edge)
        if self.resize_mode == "longest":
            ratio = max(size) / edge  # sides are divided by it, which rounds as in open_clip
            width, height = (max(1, round(side / ratio)) for side in size)
            return canvas.resize((width, height), self.interpolation).pad((edge, edge), self.fill)
        resized = self._resize_shortest(canvas, size, larger)
        return centre(resized, edge, edge, rounds=self.rounds_margins)

    def prepare_text(self, text: str, language: str | None = None) -> Tokens:
        """The network's input for a text; tokens beyond the context length are dropped.

        Args:
            text: the text.
            language: its code in FLORES-200, such as "deu_Latn"; only models whose tokenizer marks
                the language of a text use it.

        Raises:
            BadRequest: the text is blank.
            TooLarge: the text has too many characters.
        """
        raise NotImplementedError(text, language)

    def load_tokenizer(self) -> None:
        """Load the tokenizer; called when the text network is loaded, so that no request waits."""

    def logits(self) -> logits.Logits | None:
        """How cosines become probabilities; None if the checkpoint lacks it. Raises LoadError."""
        return logits.read(self._weights_file())

    def _resize_shortest(self, canvas: Canvas, size: tuple[int, int], edge: int) -> Canvas:
        """Resize the shorter side to ``edge`` and keep the aspect ratio of ``size``.

        ``size`` is the picture's width and height before it was decoded at reduced size.

        A very long picture is cropped to its middle part first, because resizing all of a picture
        of 1x3000 pixels would need gigabytes. The result is the same, because the caller crops a
        square from the centre afterwards.
        """
        width, height = canvas.size
        short, long = sorted(canvas.size)
        keep = -(-short * max(edge, _LARGEST_RESIZED // edge) // edge)
        if long > keep:
            canvas = centre(canvas, min(width, keep), min(height, keep))
            size = canvas.size
        width, height = size
        if width <= height:
            target = edge, int(edge * height / width)
        else:
            target = int(edge * width / height), edge
        return canvas.resize(target, self.interpolation)


def centre(canvas: Canvas, width: int, height: int, rounds: bool = False) -> Canvas:
    """Crops the centre.

    Half of an odd total margin is rounded down at the left or top, as in transformers. With
    ``rounds`` it is rounded to the even number, as in torchvision; that shifts the crop by one
    pixel if the total leaves 3 when divided by 4.
    """
    across, down = canvas.size[0] - width, canvas.size[1] - height
    left, top = (round(across / 2), round(down / 2)) if rounds else (across // 2, down // 2)
    return canvas.crop((left, top, left + width, top + height))
