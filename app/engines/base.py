# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The interface of engines: an engine loads a network of a checkpoint and runs it on a device.

To add an engine, make a folder beside this file with a subclass of ``Engine`` and one of
``Network``, and add a value of the setting ENGINE and a line in ``app/lending/loader.py``.
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
#: A batch of pictures, or of texts as token ids.
InputArray = FloatArray | NDArray[np.int64]


class LoadError(Exception):
    """A checkpoint cannot be loaded; the message says why, without paths of the host."""


class NotOnDisk(LoadError):
    """The weights are not on disk; a download failed, and is tried again."""


class CannotBeDownloaded(NotOnDisk):
    """The weights are not on disk, and will not be until a person brings them."""


class Downloading(LoadError):
    """The weights are not on disk yet, because they are being downloaded."""


class DoesNotFit(LoadError):
    """Not enough memory is free; the message names the needed and the free amount."""


class Unsupported(LoadError):
    """The checkpoint needs a feature that its family does not support; the message names it."""


class EngineUnavailable(LoadError):
    """The engine cannot run the checkpoint on this machine; another engine may."""


@dataclass(frozen=True)
class NetworkSource:
    """What an engine needs to know to load one network of a checkpoint."""

    #: name for log and messages, such as "ViT-L-14 text"
    label: str
    #: text that changes whenever the network's outputs may change: it covers the checkpoint's files
    #: and the model's row
    identity: str
    #: name of the network, unique among those of its checkpoint
    name: str
    #: folder for files derived from the checkpoint, such as converted models
    repository: Path
    #: files of the checkpoint that ``module`` reads
    files: tuple[Path, ...]
    #: bytes of the weights
    size: int
    #: (images, channels, rows, columns) or (texts, tokens); None for a dimension of any size
    input_shape: tuple[int | None, ...]
    input_type: type[np.float32] | type[np.int64]
    #: makes the torch module, in float32 and in evaluation mode, see ``Family.module``
    module: Callable[[], Any] = field(compare=False)
    #: how another process makes an equal source: a function, written ``module:function``, and the
    #: text that it takes as its argument
    recipe: tuple[str, str]


class Network(ABC):
    """A loaded network: first in host memory, which forked processes share, then on one device."""

    #: name of the engine that runs the network
    engine: ClassVar[EngineName]

    def __init__(self) -> None:
        #: precision of the arithmetic; final after ``to_device``
        self.precision: Precision = "fp32"
        #: name of the present device, see ``devices.Device.type``
        self.device = "cpu"
        #: does the image work before and after inference, on the device if that is faster
        self.images: ImageWork = HostImages()
        #: fingerprint of the memory-mapped files, taken before they were read
        self.files = Fingerprint(())

    def suits(self, device: str) -> bool:  # noqa: ARG002 - subclasses may need it
        """Whether the network in host memory may be moved to ``device``."""
        return True

    @abstractmethod
    def to_device(self, device: str) -> None:
        """Move the network to ``device``, ready to run. Must be called after the fork.

        Raises:
            RuntimeError, MemoryError: the device cannot hold or run the network.
        """

    def release_idle_memory(self) -> None:  # noqa: B027 - optional for subclasses
        """Free working memory that only a running inference needs; called while none runs."""

    @abstractmethod
    def infer(self, batch: InputArray) -> FloatArray:
        """Run the network on a batch. Safe to call from several threads.

        Args:
            batch: pictures [n, 3, height, width] float32, or texts [n, tokens] int64.

        Returns:
            The outputs [n, ...] float32.
        """

    def warm_up(self, batch: InputArray) -> None:
        """Run the network as often as needed until batches of this shape run at full speed."""
        self.infer(batch)


class Engine(ABC):
    """Loads networks that run with one inference library."""

    name: ClassVar[EngineName]

    @abstractmethod
    def import_libraries(self) -> None:
        """Import the libraries of all networks before the fork, so that workers share them."""

    @abstractmethod
    def preload(self, source: NetworkSource) -> Network | None:
        """Load the network before the fork, into memory that workers share.

        Must not start threads or run multi-threaded kernels, which would break forked processes.
        Returns None if the network cannot be loaded yet. Raises LoadError.
        """

    @abstractmethod
    def load(self, source: NetworkSource, device: str) -> Network:
        """Load the network into host memory, prepared for ``device``; the first load may take long.

        Raises:
            EngineUnavailable: this engine cannot run the network on this machine.
            LoadError: the checkpoint is at fault.
        """
