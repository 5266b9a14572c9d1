# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""What an engine is: it takes a network of a checkpoint, brings it to a device and runs it there.

A new engine is a folder beside this file with one class for each of the two below, a value of
ENGINE and a line in ``app/lending/loader.py``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from app.host.unchanged import Fingerprint
from app.pictures.canvas import HostImages, ImageWork
from config.values import EngineName, Precision

FloatArray = NDArray[np.float32]
#: Pictures, or the numbers of tokens.
InputArray = FloatArray | NDArray[np.int64]


class LoadError(Exception):
    """A checkpoint that cannot serve; the message says why, without paths of the host."""


class DoesNotFit(LoadError):
    """Not enough free memory; the message names what is needed and what is free."""


class Unsupported(LoadError):
    """The checkpoint asks for what its family does not do; the message names it."""


class EngineUnavailable(LoadError):
    """The checkpoint may be fine, but this engine cannot run it here."""


@dataclass(frozen=True)
class NetworkSource:
    """One network of a checkpoint, as an engine needs to know it."""

    #: for the log and for messages, such as "ViT-L-14 text"
    label: str
    #: all that the network's numbers depend on: the checkpoint's file, what the row says of it
    identity: str
    #: tells it from the other networks of the checkpoint
    name: str
    #: where what is made from it may be kept
    repository: Path
    #: of the checkpoint, which its module is made from
    files: tuple[Path, ...]
    #: bytes of its weights
    size: int
    #: images, channels, rows, columns, or texts, tokens; None where any number will do
    input_shape: tuple[int | None, ...]
    input_type: type[np.float32] | type[np.int64]
    #: gives the torch module in evaluation mode, float32, see ``Family.module``
    module: Callable[[], Any] = field(compare=False)
    #: for another process: a function, as ``module:function``, that makes this source of a text,
    #: and that text
    recipe: tuple[str, str]


class Network(ABC):
    """One network: first in host memory, where forked processes share it, then on one device."""

    #: which engine runs it
    engine: ClassVar[EngineName]

    def __init__(self) -> None:
        #: of the arithmetic; final once it is on its device
        self.precision: Precision = "fp32"
        #: where it is, a name as in ``devices.Device.type``
        self.device = "cpu"
        #: does the image work before and after it, on the device where that is faster
        self.images: ImageWork = HostImages()
        #: those that it maps; its engine takes their fingerprint before it reads them
        self.files = Fingerprint(())

    def suits(self, device: str) -> bool:  # noqa: ARG002 - for engines that prepare for one
        """Whether this host copy is right for ``device``, which is one of its engine's."""
        return True

    @abstractmethod
    def to_device(self, device: str) -> None:
        """Make it ready to run on ``device``. Only after the fork.

        Raises:
            RuntimeError, MemoryError: the device refuses it.
        """

    def release_idle_memory(self) -> None:  # noqa: B027 - most have nothing to give back
        """Give back what is not needed until it runs again; called when nothing runs."""

    @abstractmethod
    def infer(self, batch: InputArray) -> FloatArray:
        """Run it: pictures [n, 3, h, w] float32, or texts [n, tokens] int64, to [n, ...] float32.

        Safe to call from several threads.
        """

    def warm_up(self, batch: InputArray) -> None:
        """Run it until a batch of this shape is as fast as it gets."""
        self.infer(batch)


class Engine(ABC):
    """Makes networks of one kind."""

    name: ClassVar[EngineName]

    @abstractmethod
    def import_libraries(self) -> None:
        """Before the fork: import what all its networks need, so that workers share it."""

    @abstractmethod
    def preload(self, source: NetworkSource) -> Network | None:
        """Before the fork: the network in memory that workers share. None: not possible yet.

        Starts no thread and runs no multi-threaded kernel. Raises LoadError.
        """

    @abstractmethod
    def load(self, source: NetworkSource, device: str) -> Network:
        """The network in host memory, right for ``device``; may take long the first time.

        Raises:
            EngineUnavailable: this engine cannot run it here.
            LoadError: the checkpoint is at fault.
        """
