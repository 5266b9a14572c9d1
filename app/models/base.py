# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""What every family of models does: load, then prepare -> infer -> (finish, in the family)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from app.engines.base import FloatArray, InputArray, LoadError, Network
from app.host.unchanged import Fingerprint
from app.hub import weights
from app.hub.store import Checkpoint
from app.pictures.canvas import Canvas, Pixels
from config.models import ModelSpec
from config.values import EngineName, Precision

#: Crops and resizes of a picture.
Steps = Callable[[Canvas], Canvas]


def unchanged(canvas: Canvas) -> Canvas:
    """No steps."""
    return canvas


class Source(Protocol):
    """An upright picture, as ``app.pictures.decode`` or a decoding process gives it."""

    @property
    def image(self) -> Pixels:
        """RGB, 8 bits a channel; it may be smaller than the photo."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the photo, pixels."""

    @property
    def done(self) -> bool:
        """Whether the model's steps were done to it."""


@dataclass(frozen=True)
class Provenance:
    """What a map or a vector was made with: all that its numbers depend on beside the request."""

    #: commit of the checkpoint
    revision: str
    engine: EngineName
    precision: Precision
    preprocess_version: int


class Model(ABC):
    """One loaded checkpoint: what its family makes of a network, which an engine runs.

    A family is a subclass in a file of its own. Beside what stands here it has ``prepare`` (a
    picture to one input array) and ``finish`` (one output to the answer), which differ in their
    options and are called by the pipeline.
    """

    #: Files of the hub repository that loading needs; the last one holds the weights.
    FILES: ClassVar[tuple[str, ...]]
    #: Only tensors whose names begin so are loaded.
    PREFIX: ClassVar[str | tuple[str, ...]] = ""
    #: Of everything around the network that makes the numbers of an answer. The next one whenever
    #: ``prepare`` or ``finish`` gives others, so that users know what they have to compute anew.
    PREPROCESS_VERSION: ClassVar[int]
    #: Of the network's input, which is a picture or the numbers of tokens.
    INPUT_TYPE: ClassVar[type[np.float32] | type[np.int64]] = np.float32

    def __init__(self, spec: ModelSpec, checkpoint: Checkpoint, network: Network) -> None:
        """Take a network; raises LoadError where the weights file is damaged."""
        self.spec = spec
        self.checkpoint = checkpoint
        self.network = network
        #: of the files that the network maps; the loader knows them
        self.files = Fingerprint(())
        try:
            #: "published", or what the checkpoint says of itself, such as "random"
            self.weights = weights.origin(checkpoint.path / self.FILES[-1])
        except Exception as error:  # a damaged file makes its parser raise anything
            raise LoadError("the weights file is damaged or cannot be read") from error

    @classmethod
    @abstractmethod
    def check(cls, spec: ModelSpec, checkpoint: Checkpoint) -> None:
        """Whether the family gives right answers with this checkpoint, by what its files say.

        Raises:
            Unsupported: it asks for something else; the message names it.
            LoadError: it does not fit the table, or a file is damaged.
        """

    @classmethod
    @abstractmethod
    def import_torch(cls) -> None:
        """Import what ``module`` needs; done before the fork so that workers share it."""

    @classmethod
    @abstractmethod
    def module(cls, spec: ModelSpec, checkpoint: Checkpoint) -> Any:
        """The network as a torch module in evaluation mode, float32; see ``Network.infer``.

        Its weights are mapped from the file. Runs no multi-threaded kernel: one on the master's
        main thread before the fork would hang inference in the workers for ever (libgomp).

        Raises:
            LoadError: the checkpoint does not fit the table or is damaged.
        """

    @classmethod
    @abstractmethod
    def input_shape(cls, spec: ModelSpec, checkpoint: Checkpoint) -> tuple[int | None, ...]:
        """Images, channels, rows, columns, or texts, tokens; None where any number will do.

        Raises LoadError.
        """

    @classmethod
    def size(cls, checkpoint: Checkpoint) -> int:
        """Bytes of the weights that loading brings into memory. Raises LoadError."""
        try:
            return weights.size(checkpoint.path / cls.FILES[-1], cls.PREFIX)
        except Exception as error:  # a damaged file makes its parser raise anything
            raise LoadError("the weights file is damaged or cannot be read") from error

    @abstractmethod
    def warm_up(self) -> None:
        """Run it on a blank input of the usual size: page faults and allocations happen here."""

    def together(self) -> int:
        """How many inputs of one shape are worth running as one batch on the model's device."""
        return 1

    def infer(self, batch: InputArray) -> FloatArray:
        """Run the network, see ``Network.infer``."""
        return self.network.infer(batch)

    def provenance(self) -> Provenance:
        """What its answers are made with; final once it is on its device."""
        network = self.network
        return Provenance(
            self.checkpoint.revision, network.engine, network.precision, self.PREPROCESS_VERSION
        )
