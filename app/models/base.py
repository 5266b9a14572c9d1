# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""What every family of models does: load, then prepare -> infer -> (finish, in the family)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from app.models import weights
from app.models.store import Checkpoint
from config.models import ModelSpec

FloatArray = NDArray[np.float32]


class LoadError(Exception):
    """A checkpoint that cannot serve; the message says why, without paths of the host."""


class DoesNotFit(LoadError):
    """Not enough free memory; the message names what is needed and what is free."""


class Model(ABC):
    """One loaded checkpoint.

    A family is a subclass in a file of its own. Beside what stands here it has ``prepare`` (a
    picture to one input array) and ``finish`` (one output to the answer), which differ in their
    options and are called by the runtime.
    """

    #: Files of the hub repository that loading needs; the last one holds the weights.
    FILES: ClassVar[tuple[str, ...]]
    #: Only tensors whose names begin so are loaded.
    PREFIX: ClassVar[str] = ""

    def __init__(self, spec: ModelSpec, checkpoint: Checkpoint, weights: str) -> None:
        self.spec = spec
        self.checkpoint = checkpoint
        #: "published", or what the checkpoint says of itself, such as "random"
        self.weights = weights

    @classmethod
    @abstractmethod
    def import_engine(cls) -> None:
        """Import the libraries of the family; done before the fork so that workers share them."""

    @classmethod
    @abstractmethod
    def load(cls, spec: ModelSpec, checkpoint: Checkpoint) -> Self:
        """Map the weights into host memory.

        Runs no multi-threaded kernel: one on the master's main thread before the fork would hang
        inference in the workers for ever (libgomp).

        Raises:
            LoadError: the checkpoint does not fit the table or is damaged.
        """

    @classmethod
    def size(cls, checkpoint: Checkpoint) -> int:
        """Bytes of the weights that loading brings into memory. Raises LoadError."""
        try:
            return weights.size(checkpoint.path / cls.FILES[-1], cls.PREFIX)
        except Exception as error:  # a damaged file makes its parser raise anything
            raise LoadError("the weights file is damaged or cannot be read") from error

    @abstractmethod
    def to_device(self, device: str) -> None:
        """Move the weights to ``device``, a torch device name. Only after the fork."""

    @abstractmethod
    def warm_up(self) -> None:
        """One pass on a blank input of the usual size: page faults and allocations happen here."""

    def together(self) -> int:
        """How many inputs of one shape are worth running as one batch on the model's device."""
        return 1

    @abstractmethod
    def infer(self, batch: FloatArray) -> FloatArray:
        """Run the network: inputs [n, 3, h, w] to outputs [n, ...], float32."""
