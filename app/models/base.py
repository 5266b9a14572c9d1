# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""What a family of models says of a checkpoint: its networks, and what is done around them.

A family is one file beside this one with a subclass of ``DepthFamily`` or ``EmbeddingFamily``, and
one line in ``config/families.py``; docs/adding-a-model.md shows two whole ones.
"""

from __future__ import annotations

import hashlib
import json
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Protocol

import numpy as np
from pydantic import TypeAdapter

from app.engines.base import FloatArray, InputArray, LoadError, NetworkSource
from app.hub import weights
from app.hub.store import Checkpoint
from app.models import description
from app.models.tokens import Tokens
from app.pictures.canvas import Canvas, ImageWork, Pixels, Steps, unchanged
from config.families import Task, family_class
from config.models import ModelSpec
from config.values import EngineName, Precision


class Picture(Protocol):
    """An upright picture, as ``app.pictures.decode`` or a decoding process gives it."""

    @property
    def image(self) -> Pixels:
        """RGB, 8 bits a channel; it may be smaller than the photo."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the photo, pixels."""

    @property
    def done(self) -> bool:
        """Whether the family's steps were done to it."""


@dataclass(frozen=True)
class NetworkId:
    """One network of a model: it is loaded, lent and freed on its own."""

    spec: ModelSpec
    name: str

    def __str__(self) -> str:
        return f"{self.spec.key}/{self.name}"  # no key has a slash

    @property
    def label(self) -> str:
        """For people: the model's key, and which network unless it is the first one."""
        first = next(iter(family_class(self.spec.family).NETWORKS))
        return self.spec.key if self.name == first else f"{self.spec.key} {self.name}"


@dataclass(frozen=True)
class Provenance:
    """What a map or a vector was made with: all that its numbers depend on beside the request."""

    #: commit of the checkpoint
    revision: str
    engine: EngineName
    precision: Precision
    preprocess_version: int


class Family(ABC):
    """One checkpoint, as its family understands it. Holds no network."""

    TASK: ClassVar[Task]
    #: Files that loading needs; the last one holds the weights (safetensors).
    FILES: ClassVar[tuple[str, ...]]
    #: The networks, and how the names of their tensors begin. A model is loaded when the first is.
    NETWORKS: ClassVar[dict[str, tuple[str, ...]]]
    #: Of everything around the network that makes the numbers of an answer. The next one whenever
    #: that gives others, so that users know what they have to compute anew.
    PREPROCESS_VERSION: ClassVar[int] = 1

    def __init__(self, spec: ModelSpec, checkpoint: Checkpoint) -> None:
        """Read what the checkpoint says of itself.

        Raises:
            LoadError: it is damaged, contradicts the row, or wants what this family cannot do; the
                message names it.
        """
        self.spec = spec
        self.checkpoint = checkpoint

    @classmethod  # noqa: B027 - not all have any
    def import_libraries(cls) -> None:
        """Import what ``module`` needs; called before the fork, so that workers share it."""

    @abstractmethod
    def module(self, network: str) -> Any:
        """A network as a torch module in evaluation mode, float32; see ``Network.infer``.

        Its weights are mapped from the file. Runs no multi-threaded kernel: one on the master's
        main thread before the fork would hang inference in the workers for ever (libgomp).

        Raises:
            LoadError: the checkpoint is damaged.
        """

    @abstractmethod
    def blank(self, network: str) -> InputArray:
        """An input [1, ...] of the usual size, to warm the network up."""

    def input_shape(self, network: str) -> tuple[int | None, ...]:
        """Of the network's input; None where any number will do: here, any number at once."""
        return (None, *self.blank(network).shape[1:])

    def max_batch(self, network: str, device: str) -> int:  # noqa: ARG002
        """How many inputs of one shape are worth running as one batch on a device."""
        return 1

    def check_network(self, network: str) -> None:  # noqa: B027 - most are fine
        """Raises LoadError where a network of the checkpoint cannot serve, though others can."""

    def source(self, network: str) -> NetworkSource:
        """A network for an engine. Raises LoadError."""
        self.check_network(network)
        file = self.checkpoint.path / self.FILES[-1]
        recipe = json.dumps(
            {
                "spec": self.spec.model_dump(mode="json"),
                "checkpoint": _CHECKPOINT.dump_python(self.checkpoint, mode="json"),
                "network": network,
            }
        )
        try:
            size = weights.size(file, self.NETWORKS[network])
            # In the hub's cache it is a link to a file that bears its hash, which a copy keeps.
            name = file.resolve().name if file.is_symlink() else file.stat().st_mtime_ns
            parts = [self.checkpoint.revision, file.stat().st_size, name]
            for each in self.FILES[:-1]:
                parts.append(hashlib.sha256((self.checkpoint.path / each).read_bytes()).hexdigest())
        except Exception as error:  # a damaged file makes its parser raise anything
            raise _damaged_weights() from error
        row = f"{self.spec.family} {self.spec.activation}"
        return NetworkSource(
            label=NetworkId(self.spec, network).label,
            identity=" ".join(map(str, (row, *parts))),
            name=network,
            repository=self.checkpoint.repository,
            files=tuple(self.checkpoint.path / each for each in self.FILES),
            size=size,
            input_shape=self.input_shape(network),
            input_type=np.int64 if self.blank(network).dtype == np.int64 else np.float32,
            module=partial(self._module, network),
            recipe=("app.models.base:source_from", recipe),
        )

    def _module(self, network: str) -> Any:
        try:
            return self.module(network)
        except LoadError:
            raise
        except Exception as error:  # a damaged file makes its parsers raise anything
            raise LoadError(
                f"the checkpoint is damaged or not one of {self.spec.family}"
            ) from error

    def weights(self) -> str:
        """Whose: "published", or what the file says, such as "random". Raises LoadError."""
        try:
            return weights.origin(self.checkpoint.path / self.FILES[-1])
        except Exception as error:  # a damaged file makes its parser raise anything
            raise _damaged_weights() from error

    def read_json(self, name: str) -> dict[str, Any]:
        """One of its files. Raises LoadError: it is no JSON object."""
        return description.read(self.checkpoint, name)

    def check_row(self, **found: object) -> None:
        """Compare what the checkpoint says of itself with the row, which may leave it open.

        Raises:
            LoadError: they differ; the message has both values.
        """
        for name, value in found.items():
            stated = getattr(self.spec, name)
            if stated is not None and stated != value:
                raise LoadError(f"the checkpoint has {name} {value}, the table of models {stated}")


class DepthFamily(Family):
    """Photo to disparity."""

    TASK = "depth"
    NETWORKS: ClassVar[dict[str, tuple[str, ...]]] = {"image": ("",)}
    #: A photo is decoded at least so many times larger than the network's input, each way.
    OVERSAMPLED: ClassVar[float] = 1.4
    #: of each channel, for pixels from 0 to 1
    mean: FloatArray
    deviation: FloatArray

    @abstractmethod
    def input_size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of the network's input for an upright photo, pixels.

        Raises:
            TooLarge: a shape that it cannot take.
        """

    def decode_size(self, width: int, height: int) -> tuple[int, int]:
        """How large a photo of this size must be decoded for ``prepare``."""
        columns, rows = self.input_size(width, height)
        return math.ceil(columns * self.OVERSAMPLED), math.ceil(rows * self.OVERSAMPLED)

    def steps(self, size: tuple[int, int]) -> Steps:
        """What ``prepare`` does first with a photo of this size. Raises TooLarge."""
        target = self.input_size(*size)
        return lambda canvas: canvas.resize(target)

    def prepare(self, picture: Picture, work: ImageWork) -> FloatArray:
        """The network's input [3, rows, columns] float32 for an upright photo."""
        steps = unchanged if picture.done else self.steps(picture.size)
        return work.prepared(picture.image, steps, self.mean, self.deviation)

    def disparity(self, output: FloatArray) -> FloatArray:
        """The network's output for one photo, [h, w] float32, as disparity: larger is nearer."""
        return output


class EmbeddingFamily(Family):
    """Image, and with most families text, to a vector in one space."""

    TASK = "embedding"
    NETWORKS: ClassVar[dict[str, tuple[str, ...]]] = {"image": ("",)}
    #: An image is decoded at least so many times larger than the network's input, each way.
    OVERSAMPLED: ClassVar[float] = 2.0
    #: numbers of a vector
    dims: int
    #: edge of the network's input, pixels
    image_size: int
    #: of each channel, for pixels from 0 to 1
    mean: FloatArray
    deviation: FloatArray

    def decode_size(self, image_size: int | None, width: int, height: int) -> tuple[int, int]:
        """How large an image of this size must be decoded for ``prepare_image``."""
        scale = self.OVERSAMPLED * (image_size or self.image_size) / min(width, height)
        return math.ceil(width * scale), math.ceil(height * scale)

    def steps(self, image_size: int | None, size: tuple[int, int]) -> Steps:
        """What ``prepare_image`` does first with an image of this size."""

        def steps(canvas: Canvas) -> Canvas:
            before = size
            if image_size is not None:
                canvas = resize_shortest(canvas, before, image_size)
                before = canvas.size
            return self.to_square(canvas, before)

        return steps

    def prepare_image(
        self, picture: Picture, image_size: int | None, work: ImageWork
    ) -> FloatArray:
        """The network's input [3, s, s] float32 with the native size s.

        Args:
            picture: upright.
            image_size: shortest edge that the source is brought to first, pixels. The model's own
                preparation follows, so that vectors stay in the model's space.
            work: where it is done.
        """
        steps = unchanged if picture.done else self.steps(image_size, picture.size)
        return work.prepared(picture.image, steps, self.mean, self.deviation)

    def to_square(self, canvas: Canvas, size: tuple[int, int]) -> Canvas:
        """The model's own crop and resize, to its native size.

        Args:
            canvas: the picture, perhaps decoded smaller.
            size: width and height before that; they give the aspect.
        """
        edge = self.image_size
        return centre(resize_shortest(canvas, size, edge), edge, edge)

    def prepare_text(self, text: str) -> Tokens:
        """The network's input for a text; what does not fit is left out.

        Raises:
            BadRequest: a blank text.
            TooLarge: more characters than a text may have.
        """
        raise NotImplementedError(text)

    def load_tokenizer(self) -> None:
        """Called when the text network is loaded, so that the first request need not wait."""


def describe_checkpoint(spec: ModelSpec, checkpoint: Checkpoint) -> Family:
    """What a checkpoint says of itself; reads its small files. Raises LoadError."""
    try:
        family: Family = family_class(spec.family)(spec, checkpoint)
    except LoadError:
        raise
    except Exception as error:  # a damaged file makes its parsers raise anything
        raise LoadError(f"the checkpoint is damaged or not one of {spec.family}") from error
    return family


def source_from(text: str) -> NetworkSource:
    """The source that ``NetworkSource.recipe`` describes; raises LoadError."""
    recipe = json.loads(text)
    spec = ModelSpec.model_validate(recipe["spec"])
    checkpoint = _CHECKPOINT.validate_python(recipe["checkpoint"])
    return describe_checkpoint(spec, checkpoint).source(recipe["network"])


_CHECKPOINT: TypeAdapter[Checkpoint] = TypeAdapter(Checkpoint)
_LARGEST_RESIZED = 20_000_000  # pixels


def centre(canvas: Canvas, width: int, height: int) -> Canvas:
    """Offsets are floored, as transformers does; torchvision rounds and differs by one pixel."""
    left, top = (canvas.size[0] - width) // 2, (canvas.size[1] - height) // 2
    return canvas.crop((left, top, left + width, top + height))


def resize_shortest(canvas: Canvas, size: tuple[int, int], edge: int) -> Canvas:
    """Bring the shorter side to ``edge``, aspect kept; of a very long picture only the middle.

    The aspect is that of ``size``, width and height before the picture was decoded smaller.

    The centre crop that follows keeps a square, so the far ends of a thin strip never matter; but
    resized in full a file of 1x3000 pixels would need gigabytes.
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
    return canvas.resize(target)


def _damaged_weights() -> LoadError:
    return LoadError("the weights file is damaged or cannot be read")
