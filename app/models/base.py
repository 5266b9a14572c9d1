# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""What every family of models does: load, then prepare -> infer -> (finish, in the family)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from app.engines.base import FloatArray, LoadError, Network
from app.models import weights
from app.models.store import Checkpoint
from config.models import ModelSpec


class Model(ABC):
    """One loaded checkpoint: what its family makes of a network, which an engine runs.

    A family is a subclass in a file of its own. Beside what stands here it has ``prepare`` (a
    picture to one input array) and ``finish`` (one output to the answer), which differ in their
    options and are called by the pipeline.
    """

    #: Files of the hub repository that loading needs; the last one holds the weights.
    FILES: ClassVar[tuple[str, ...]]
    #: Only tensors whose names begin so are loaded.
    PREFIX: ClassVar[str] = ""

    def __init__(self, spec: ModelSpec, checkpoint: Checkpoint, network: Network) -> None:
        """Take a network; raises LoadError where the weights file is damaged."""
        self.spec = spec
        self.checkpoint = checkpoint
        self.network = network
        try:
            #: "published", or what the checkpoint says of itself, such as "random"
            self.weights = weights.origin(checkpoint.path / self.FILES[-1])
        except Exception as error:  # a damaged file makes its parser raise anything
            raise LoadError("the weights file is damaged or cannot be read") from error

    @classmethod
    @abstractmethod
    def import_torch(cls) -> None:
        """Import what ``module`` needs; done before the fork so that workers share it."""

    @classmethod
    @abstractmethod
    def module(cls, spec: ModelSpec, checkpoint: Checkpoint) -> Any:
        """The network as a torch module, [n, 3, h, w] to [n, ...], float32, in evaluation mode.

        Its weights are mapped from the file. Runs no multi-threaded kernel: one on the master's
        main thread before the fork would hang inference in the workers for ever (libgomp).

        Raises:
            LoadError: the checkpoint does not fit the table or is damaged.
        """

    @classmethod
    @abstractmethod
    def input_shape(cls, spec: ModelSpec) -> tuple[int | None, ...]:
        """Images, channels, rows, columns; None where any number will do."""

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

    def infer(self, batch: FloatArray) -> FloatArray:
        """Run the network: inputs [n, 3, h, w] to outputs [n, ...], float32."""
        return self.network.infer(batch)
